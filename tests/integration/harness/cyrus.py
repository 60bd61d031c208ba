"""A Cyrus of the test's own, as IMAP, POP3 and ManageSieve backend: its own configuration, mailboxes and processes, nothing of the host's."""
import os
import pathlib
import shutil
import socket
import struct
import threading

from .postern import ROOT
from .procs import Child, free_port, wait_for

MASTER = "/usr/sbin/cyrmaster"
COMMON = pathlib.Path("/usr/lib/cyrus/bin")
UNPACKED = ROOT / "build/cyrus/usr/lib/cyrus/bin"  # of the packages that exclude Dovecot's


class Cyrus:
    """IMAP on `port` and `tls_port`, POP3 on `pop3_port` and `pop3s_port`, ManageSieve on `sieve_port`. Mailboxes are made at the first
    login. Who may log in is asked as of a saslauthd, which is us: `asked` are (user, service) of every question."""

    def __init__(self, directory, pair):
        self.directory = directory
        self.port, self.tls_port, self.pop3_port, self.pop3s_port, self.sieve_port = (free_port() for _ in range(5))
        self._passwords, self.asked, self._child = {}, [], None
        for name in ("conf", "spool", "sieve", "run", "bin"):
            (directory / name).mkdir(parents=True)
        for name in ("imapd", "pop3d"):  # its user may not get to where they are
            shutil.copy(UNPACKED / name, directory / "bin")
        for name in ("db", "socket", "log", "msg", "proc", "lock", "quota", "user", "sieve"):
            (directory / "conf" / name).mkdir()
        shutil.copy(pair.key, directory / "key.pem")
        (directory / "imapd.conf").write_text(f"""
configdirectory: {directory}/conf
proc_path: {directory}/run/proc
mboxname_lockpath: {directory}/run/lock
defaultpartition: default
partition-default: {directory}/spool
sievedir: {directory}/sieve
sieveusehomedir: false
servername: cyrus.example
admins: admin
allowplaintext: yes
sasl_mech_list: PLAIN LOGIN
sasl_pwcheck_method: saslauthd
sasl_saslauthd_path: {directory}/saslauthd
autocreate_quota: 0
autocreate_post: yes
unixhierarchysep: yes
popminpoll: 0
tls_server_cert: {pair.cert}
tls_server_key: {directory}/key.pem
""")

        def service(name, program, port, *options):
            words = [str(program), "-C", f"{directory}/imapd.conf", *options]
            return f'  {name} cmd="{" ".join(words)}" listen="127.0.0.1:{port}" prefork=0\n'
        (directory / "cyrus.conf").write_text(
            f'START {{\n  recover cmd="/usr/sbin/cyrus ctl_cyrusdb -C {directory}/imapd.conf -r"\n}}\nSERVICES {{\n'
            + service("imap", directory / "bin/imapd", self.port) + service("imaps", directory / "bin/imapd", self.tls_port, "-s")
            + service("pop3", directory / "bin/pop3d", self.pop3_port) + service("pop3s", directory / "bin/pop3d", self.pop3s_port, "-s")
            + service("sieve", COMMON / "timsieved", self.sieve_port) + "}\nEVENTS {\n}\n")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / "saslauthd"))
        os.chmod(directory / "saslauthd", 0o666)
        self._listener.listen()
        threading.Thread(target=self._check, daemon=True).start()
        shutil.chown(directory, "cyrus", "mail")
        for path in directory.rglob("*"):
            shutil.chown(path, "cyrus", "mail")

    @staticmethod
    def why_not():
        """Why there is no Cyrus here; empty if there is."""
        if not pathlib.Path(MASTER).exists():
            return "cyrus-common is not installed"
        if not all((UNPACKED / name).exists() for name in ("imapd", "pop3d")):
            return f"no imapd and pop3d in {UNPACKED} (./check puts them there)"
        return "" if os.geteuid() == 0 else "Cyrus starts as root only"

    def add_user(self, name, password):
        self._passwords[name] = password

    def _check(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as file:
                user, password, service, _ = (file.read(struct.unpack("!H", file.read(2))[0]).decode() for _ in range(4))
                self.asked.append((user, service))
                answer = b"OK" if self._passwords.get(user) == password else b"NO"
                connection.sendall(struct.pack("!H", len(answer)) + answer)

    def start(self):
        self._child = Child([MASTER, "-C", self.directory / "imapd.conf", "-M", self.directory / "cyrus.conf",
                             "-p", self.directory / "run/master.pid", "-D"], self.directory / "output")

        def greets():
            assert self._child.running(), self.directory.joinpath("output").read_text()
            try:
                with socket.create_connection(("127.0.0.1", self.port), 10) as probe:
                    return probe.recv(100).startswith(b"* OK")
            except OSError:
                return False
        wait_for("Cyrus's greeting", greets, 60)
        return self

    def stop(self):
        if self._child:
            self._child.stop()
            self._child = None
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
