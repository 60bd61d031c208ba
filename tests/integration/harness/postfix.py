"""A Postfix of the test's own, as submission backend: its own configuration, queue and processes, nothing of the host's."""
import os
import pwd
import shutil
import socket
import subprocess

from .procs import Child, free_port, wait_for

MASTER = "/usr/lib/postfix/sbin/master"

SERVICES = """
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{tls_port} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
127.0.0.1:{strict_port} inet n - n - - smtpd
  -o smtpd_authorized_xclient_hosts=
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
error unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """Submission on `port`, over TLS on `tls_port`; on `strict_port` nobody may say XCLIENT. Everything that is submitted is discarded.
    Asks the Dovecot `accounts` who may log in."""

    def __init__(self, directory, pair, accounts):
        self.directory, self.log = directory, directory / "postfix.log"
        self.port, self.tls_port, self.strict_port = free_port(), free_port(), free_port()
        self._child = None
        for name in ("etc", "queue", "data"):
            (directory / name).mkdir(parents=True)
        directory.chmod(0o755)
        owner = pwd.getpwnam("postfix")
        os.chown(directory / "data", owner.pw_uid, owner.pw_gid)
        self._write("master.cf", SERVICES.format(**vars(self)))
        self._write("main.cf", f"""
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {self.log}
maillog_file_prefixes = {directory}
command_directory = /usr/sbin
daemon_directory = {os.path.dirname(MASTER)}
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.example
mydestination =
mynetworks =
default_transport = discard:
relay_transport = discard:
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = all
smtputf8_enable = no
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_forbid_unauth_pipelining = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {accounts.auth_socket}
smtpd_tls_security_level = may
smtpd_tls_cert_file = {pair.cert}
smtpd_tls_key_file = {pair.key}
smtpd_tls_session_cache_database =
tls_random_source = dev:/dev/urandom
""")

    def _write(self, name, text):
        (self.directory / "etc" / name).write_text(text)

    @staticmethod
    def why_not():
        """Why there is no Postfix here; empty if there is."""
        if shutil.which("postfix", path="/usr/sbin") is None:
            return "postfix is not installed"
        return "" if os.geteuid() == 0 else "Postfix starts as root only"

    def start(self):
        # Makes the queue's directories, and says what is wrong.
        checked = subprocess.run(["/usr/sbin/postfix", "-c", self.directory / "etc", "check"], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        self._child = Child([MASTER, "-c", self.directory / "etc", "-d"], self.directory / "output")

        def greets():
            assert self._child.running(), self.directory.joinpath("output").read_text() + self.log_text()
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as probe:
                    return probe.recv(100).startswith(b"220 ")
            except OSError:
                return False
        wait_for("Postfix's greeting", greets, 30)
        return self

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_log(self, pattern, seconds=20):
        """The first match of a compiled expression in the log."""
        try:
            return wait_for(f"/{pattern.pattern}/ in Postfix's log", lambda: pattern.search(self.log_text()), seconds)
        except AssertionError as missing:
            raise AssertionError(f"{missing}; it says:\n{self.log_text()[-3000:]}") from None

    def stop(self):
        if self._child:
            self._child.stop()
            self._child = None
