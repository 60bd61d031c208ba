"""A Dovecot of the test's own, as IMAP, POP3, submission and ManageSieve backend."""
import getpass
import os
import socket
import time

from .procs import Child, free_port, wait_for
from .smtp import SmtpSink

BINARY = "/usr/sbin/dovecot"


class Dovecot:
    """IMAP on `port`, IMAPS on `tls_port` (behind a PROXY header: `haproxy_port`, `haproxys_port`), POP3 on `pop3_port` and `pop3s_port`, submission on `submission_port` and
    `submissions_port`, ManageSieve on `sieve_port` (over TLS: `sieves_port`); mail in `directory`/mail, and what is submitted in `sink`. Believes what Postern says of the client."""

    def __init__(self, directory, pair, extra=""):
        self.directory = directory
        self.port, self.tls_port = free_port(), free_port()
        self.haproxy_port, self.haproxys_port = free_port(), free_port()
        self.pop3_port, self.pop3s_port = free_port(), free_port()
        self.submission_port, self.submissions_port = free_port(), free_port()
        self.sink = SmtpSink()
        self.sieve_port, self.sieves_port = free_port(), free_port()
        self.log = directory / "dovecot.log"
        self.auth_socket = directory / "run/auth-for-postfix"
        self._users = directory / "users"
        self._masters = directory / "masters"
        self._pair, self._extra, self._child = pair, extra, None
        directory.mkdir(mode=0o755)
        (directory / "mail").mkdir()
        self._users.write_text("")
        self._masters.write_text("")
        if os.geteuid() == 0:
            import pwd
            nobody = pwd.getpwnam("nobody")
            os.chown(directory / "mail", nobody.pw_uid, nobody.pw_gid)

    def add_user(self, name, password):
        self.add_users({name: password})

    def add_users(self, passwords):
        """Several at once: name -> password."""
        with open(self._users, "a") as users:
            users.write("".join(f"{name}:{{PLAIN}}{password}\n" for name, password in passwords.items()))
        if self._child:
            time.sleep(1.05)  # Dovecot looks at its file at most once a second

    def send_on(self, name, password, port, **fields):
        """A user whom it sends on to another server, as a proxy."""
        words = {"proxy": "y", "host": "127.0.0.1", "port": port, **fields}
        with open(self._users, "a") as users:
            users.write(f"{name}:{{PLAIN}}{password}::::::{' '.join(f'{key}={value}' for key, value in words.items())}\n")
        if self._child:
            time.sleep(1.05)

    def add_master(self, name, password):
        with open(self._masters, "a") as users:
            users.write(f"{name}:{{PLAIN}}{password}\n")
        if self._child:
            time.sleep(1.05)

    def _configuration(self):
        if os.geteuid() == 0:
            accounts = "mail_uid = nobody\nmail_gid = nogroup\nfirst_valid_uid = 1\n"
        else:
            me = getpass.getuser()
            accounts = (f"default_internal_user = {me}\ndefault_internal_group =\ndefault_login_user = {me}\n"
                        f"mail_uid = {os.getuid()}\nmail_gid = {os.getgid()}\nfirst_valid_uid = 1\n"
                        "service anvil {\n  chroot =\n}\nservice imap-login {\n  chroot =\n}\n"
                        "service pop3-login {\n  chroot =\n}\nservice submission-login {\n  chroot =\n}\n"
                        "service managesieve-login {\n  chroot =\n}\n"
                        f"service auth-worker {{\n  user = {me}\n}}\n")
        return f"""
base_dir = {self.directory}/run
state_dir = {self.directory}/state
log_path = {self.log}
protocols = imap pop3 submission sieve
listen = 127.0.0.1
ssl = yes
ssl_cert = <{self._pair.cert}
ssl_key = <{self._pair.key}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_verbose = yes
auth_failure_delay = 0
auth_cache_size = 0
login_trusted_networks = 127.0.0.0/8
haproxy_trusted_networks = 127.0.0.0/8
login_greeting = Backend ready.
imap_id_log = *
hostname = backend.example
submission_relay_host = 127.0.0.1
submission_relay_port = {self.sink.port}
mail_location = maildir:{self.directory}/mail/%u
mail_max_userip_connections = 0
default_vsz_limit = 0
{accounts}
passdb {{
  driver = passwd-file
  args = {self._masters}
  master = yes
  result_success = continue
}}
passdb {{
  driver = passwd-file
  args = {self._users}
}}
userdb {{
  driver = static
  args = home={self.directory}/mail/%u
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener auth-for-postfix {{
    mode = 0666
  }}
}}
service imap-login {{
  service_count = 0
  client_limit = 3000
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = {self.tls_port}
    ssl = yes
  }}
  inet_listener imap-haproxy {{
    port = {self.haproxy_port}
    haproxy = yes
  }}
  inet_listener imaps-haproxy {{
    port = {self.haproxys_port}
    haproxy = yes
    ssl = yes
  }}
}}
service imap {{
  process_limit = 3000
}}
service pop3-login {{
  service_count = 0
  inet_listener pop3 {{
    port = {self.pop3_port}
  }}
  inet_listener pop3s {{
    port = {self.pop3s_port}
    ssl = yes
  }}
}}
service managesieve-login {{
  service_count = 0
  inet_listener sieve {{
    port = {self.sieve_port}
  }}
  inet_listener sieves {{
    port = {self.sieves_port}
    ssl = yes
  }}
}}
service submission-login {{
  service_count = 0
  inet_listener submission {{
    port = {self.submission_port}
  }}
  inet_listener submissions {{
    port = {self.submissions_port}
    ssl = yes
  }}
}}
{self._extra}"""

    def start(self):
        conf = self.directory / "dovecot.conf"
        conf.write_text(self._configuration())
        self._child = Child([BINARY, "-F", "-c", conf], self.directory / "output")

        def greets():
            assert self._child.running(), self.directory.joinpath("output").read_text() + self.log_text()
            try:
                with socket.create_connection(("127.0.0.1", self.port), 2) as probe:
                    return probe.recv(100).startswith(b"* OK")
            except OSError:
                return False
        wait_for("the backend's greeting", greets, 20)
        return self

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self):
        if self._child:
            self._child.stop()
            self._child = None
            self.sink.stop()
