"""A Dovecot that does nothing but authenticate, for Postern's login processes to ask (auth_socket_path)."""
import getpass
import os

from .dovecot import BINARY
from .procs import Child, wait_for

MECHANISMS = "plain login cram-md5 digest-md5 scram-sha-1 scram-sha-256 apop"


class DovecotAuth:
    """Its socket is `socket`. Users are sent to a backend by their fields."""

    def __init__(self, directory, mechanisms=MECHANISMS):
        self.directory, self.mechanisms, self._child = directory, mechanisms, None
        self.socket = directory / "run/auth-login"
        self.log = directory / "dovecot.log"
        directory.mkdir(mode=0o755)
        for name in ("users", "masters", "denied"):
            (directory / name).write_text("")

    # Before start().

    def add_user(self, name, password, **fields):
        self._add("users", f"{name}:{{PLAIN}}{password}::::::" + " ".join(f"{k}={v}" for k, v in fields.items()))

    def add_master(self, name, password):
        self._add("masters", f"{name}:{{PLAIN}}{password}")

    def deny(self, name):
        self._add("denied", name + ":")

    def _add(self, file, line):
        assert not self._child
        with open(self.directory / file, "a") as users:
            users.write(line + "\n")

    def _configuration(self):
        accounts = ""
        if os.geteuid() != 0:
            me = getpass.getuser()
            accounts = (f"default_internal_user = {me}\ndefault_internal_group =\ndefault_login_user = {me}\n"
                        f"service anvil {{\n  chroot =\n}}\nservice auth-worker {{\n  user = {me}\n}}\n")
        return f"""
base_dir = {self.directory}/run
state_dir = {self.directory}/state
log_path = {self.log}
protocols =
ssl = no
auth_mechanisms = {self.mechanisms}
auth_verbose = yes
auth_failure_delay = 0
default_vsz_limit = 0
{accounts}
passdb {{
  driver = passwd-file
  args = {self.directory}/denied
  deny = yes
}}
passdb {{
  driver = passwd-file
  args = {self.directory}/masters
  master = yes
  result_success = continue
}}
passdb {{
  driver = passwd-file
  args = {self.directory}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""

    def start(self):
        conf = self.directory / "dovecot.conf"
        conf.write_text(self._configuration())
        self._child = Child([BINARY, "-F", "-c", conf], self.directory / "output")
        wait_for("the auth socket", lambda: self.socket.exists() or not self._child.running(), 20)
        assert self._child.running(), self.directory.joinpath("output").read_text() + self.log_text()
        return self

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self):
        if self._child:
            self._child.stop()
            self._child = None
