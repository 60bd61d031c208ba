"""A Postern of the test's own."""
import json
import os
import pathlib
import pwd
import re
import shutil
import socket
import sqlite3
import subprocess

from .procs import Child, alive, descendants, free_port, processes_in, program, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAMS = {"imap-login": "imap-login", "pop3-login": "pop3-login", "submission-login": "submission-login",
            "managesieve-login": "managesieve-login",
            "auth": "auth", "auth-worker": "auth", "anvil": "anvil", "log": "log"}
COLUMNS = ("proxy", "host", "port", "ssl", "starttls", "destuser", "pass", "master", "nopassword", "nologin",
           "proxy_timeout", "proxy_mech", "proxy_noauth", "proxy_nopipelining", "forward_color")
# What must never stand in a log, whatever a test does.
DISASTERS = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|UndefinedBehavior|Panic: |terminate called|"
                       r"killed with signal (?!9\b|15\b)|POSTERN_CHECK")


def build_tree():
    return pathlib.Path(os.environ.get("POSTERN_BUILD", ROOT / "build/check"))


def account(*names):
    """The first of these accounts that this host has."""
    for name in names:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            pass
    raise AssertionError(f"none of the accounts {names} exists")


class Result:
    """What a run of posternctl gave."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def json(self):
        return json.loads(self.out)

    def rows(self):
        """Table output as one dict a line, by the words of the heading."""
        lines = [line for line in self.out.splitlines() if line.strip()]
        return [line.split() for line in lines[1:]]


class Postern:
    """Configured before start(), by attributes and add_user()."""

    def __init__(self, directory, server):
        self.directory, self.run = directory, directory / "run"
        self.conf, self.log = directory / "postern.conf", directory / "postern.log"
        self.port, self.tls_port = free_port(), free_port()
        self.pop3_port, self.pop3s_port = free_port(), free_port()  # served if `protocols` has pop3
        self.submission_port, self.submissions_port = free_port(), free_port()  # likewise
        self.sieve_port, self.sieves_port = free_port(), free_port()  # likewise (sieve)
        self.database = directory / "users.db"
        self.passwords = set()       # never to be seen in a log
        self.may_die = False         # a test that kills processes sets it
        self.service = {"service_count": "0", "client_limit": "1000", "process_min_avail": "1"}
        self.services = {}           # of other services: name -> settings
        self.settings = {
            "base_dir": str(self.run), "libexec_dir": str(directory / "libexec"), "log_path": str(self.log),
            "protocols": "imap", "listen": "127.0.0.1", "ssl": "yes", "ssl_cert": f"<{server.cert}",
            "ssl_key": f"<{server.key}", "auth_mechanisms": "plain login", "auth_failure_delay": "100 ms",
            "auth_verbose": "yes", "default_vsz_limit": "0", "login_proxy_timeout": "15 secs",
            "proxy_allow_self": "no",
        }
        if os.geteuid() == 0:
            own = account("postern", "dovecot", "nobody")
            self.services = {"auth": {"user": own}, "auth-worker": {"user": own}}
            self.settings |= {"default_internal_user": own, "default_internal_group": "",
                              "default_login_user": account("postern-login", "dovenull", "nobody")}
        self.passdbs = {"users": {
            "driver": "sql", "sql_driver": "sqlite", "connect": str(self.database),
            "password_query": "SELECT password, " + ", ".join(COLUMNS) + " FROM users WHERE user = '%u'"}}
        self.extra = ""
        self._child = None
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        db = sqlite3.connect(self.database)
        db.execute("CREATE TABLE users (user TEXT PRIMARY KEY, password TEXT, "
                   + ", ".join(f"{c} TEXT" for c in COLUMNS) + ")")
        db.commit()
        db.close()
        self.database.chmod(0o644)
        libexec = directory / "libexec"
        libexec.mkdir()
        for name, room in PROGRAMS.items():
            (libexec / name).symlink_to(build_tree() / "src" / room / name)

    # Configuration.

    def add_user(self, name, password, stored=None, **fields):
        """A user whose password is `password`, kept as `stored` (default {PLAIN}); fields as the passdb gives them."""
        self.passwords.add(password)
        row = {"user": name, "password": stored if stored is not None else "{PLAIN}" + password, **fields}
        db = sqlite3.connect(self.database)
        db.execute(f"INSERT OR REPLACE INTO users ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
                   [None if v is None else str(v) for v in row.values()])
        db.commit()
        db.close()

    def configuration(self):
        def section(head, keys):
            return f"\n[{head}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())
        text = "".join(f"{k} = {v}\n" for k, v in self.settings.items())
        text += section("service imap-login", self.service)
        text += section("inet_listener imap-login imap", {"port": self.port})
        text += section("inet_listener imap-login imaps", {"port": self.tls_port, "ssl": "yes"})
        if "pop3" in self.settings["protocols"].split():
            text += section("service pop3-login", self.service)
            text += section("inet_listener pop3-login pop3", {"port": self.pop3_port})
            text += section("inet_listener pop3-login pop3s", {"port": self.pop3s_port, "ssl": "yes"})
        if "submission" in self.settings["protocols"].split():
            text += section("service submission-login", self.service)
            text += section("inet_listener submission-login submission", {"port": self.submission_port})
            text += section("inet_listener submission-login submissions", {"port": self.submissions_port, "ssl": "yes"})
        if "sieve" in self.settings["protocols"].split():
            text += section("service managesieve-login", self.service)
            text += section("inet_listener managesieve-login sieve", {"port": self.sieve_port})
            text += section("inet_listener managesieve-login sieves", {"port": self.sieves_port, "ssl": "yes"})
        for name, keys in self.services.items():
            text += section(f"service {name}", keys)
        for name, keys in self.passdbs.items():
            text += section(f"passdb {name}", keys)
        return text + self.extra

    def write_configuration(self):
        self.conf.write_text(self.configuration())

    # Life.

    def start(self, ready=True):
        self.write_configuration()
        self._child = Child([build_tree() / "src/master/postern", "-F", "-c", self.conf], self.directory / "output",
                            cwd="/", env=environment())
        if ready:
            wait_for("the greeting", self._greets, 30)
            if "pop3" in self.settings["protocols"].split():
                wait_for("the greeting", lambda: self._greets(self.pop3_port, b"+OK"), 30)
            if "submission" in self.settings["protocols"].split():
                wait_for("the greeting", lambda: self._greets(self.submission_port, b"220 "), 30)
            if "sieve" in self.settings["protocols"].split():
                wait_for("the greeting", lambda: self._greets(self.sieve_port, b'"IMPLEMENTATION"'), 30)
            wait_for("anvil", lambda: self._confined("anvil"), 30)
        return self

    def _confined(self, name):
        """Is a process of that program there, and has it given up what it started with?"""
        try:
            return any("NoNewPrivs:\t1" in pathlib.Path(f"/proc/{pid}/status").read_text() for pid in self.pids(name))
        except OSError:
            return False

    def _greets(self, port=None, start=b"* OK"):
        assert self._child.running(), "postern ended:\n" + self.output() + self.log_text()
        try:
            with socket.create_connection(("127.0.0.1", port or self.port), 5) as probe:
                return probe.recv(200).startswith(start)
        except OSError:
            return False

    @property
    def pid(self):
        return self._child.pid

    def running(self):
        return self._child is not None and self._child.running()

    def wait(self, seconds=20):
        return self._child.process.wait(seconds)

    def stop(self):
        """Stops it; says what is wrong with the way it went."""
        if not self._child:
            return []
        below = descendants(self.pid) if self.running() else []
        status, complaints = self._child.stop(), []
        if status is None:
            complaints.append("had to be killed: " + ", ".join(f"{p} {program(p)}" for p in below if alive(p)))
        elif status != 0:
            complaints.append(f"exit status {status}")
        left = wait_gone(self.directory)
        if left:
            complaints.append(f"processes left: {left}")
        self._child = None
        return complaints

    def complaints(self):
        """What no test may leave behind: crashes, sanitizer reports, secrets."""
        text, found = self.everything_logged(), []
        for line in text.splitlines():
            if DISASTERS.search(line) and not (self.may_die and "killed with signal" in line):
                found.append("logged: " + line)
        found += ["a password is in the log" for password in self.passwords if len(password) > 3 and password in text]
        return found

    # Looking at it.

    def output(self):
        path = self.directory / "output"
        return path.read_text(errors="replace") if path.exists() else ""

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def everything_logged(self):
        return self.output() + "".join(p.read_text(errors="replace") for p in sorted(self.directory.glob("*.log*")))

    def wait_log(self, pattern, seconds=10.0):
        """The first log line that matches the regular expression."""
        expression = re.compile(pattern)

        def find():
            return next((line for line in self.log_text().splitlines() if expression.search(line)), None)
        try:
            return wait_for(f"/{pattern}/ in the log", find, seconds)
        except AssertionError as missing:
            raise AssertionError(f"{missing}; the log says:\n{self.log_text()[-4000:]}") from None

    def pids(self, name):
        """Processes of a program, oldest first."""
        return [p for p in descendants(self.pid) if program(p) == name]

    def ctl(self, *arguments, form=None):
        """Runs posternctl against this instance."""
        command = [build_tree() / "src/ctl/posternctl", "-c", self.conf]
        command += ["-f", form] if form else []
        return Result(subprocess.run([str(c) for c in command] + [str(a) for a in arguments], capture_output=True,
                                     text=True, timeout=60, stdin=subprocess.DEVNULL, env=environment()))

    def check_configuration(self, *options):
        """postern -t (or other options) on the configuration as it stands now."""
        self.write_configuration()
        return Result(subprocess.run([build_tree() / "src/master/postern", *(options or ("-t",)), "-c", self.conf],
                                     capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                                     env=environment()))


def environment():
    """For the programs under test; what a sanitizer needs to know among it."""
    return os.environ | {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "detect_leaks=0:quarantine_size_mb=1"), "LC_ALL": "C.UTF-8"}


def wait_gone(directory, seconds=5.0):
    """Processes of an instance that are still there after a while."""
    try:
        wait_for("the processes' end", lambda: not processes_in(directory), seconds, 0.1)
        return []
    except AssertionError:
        return [f"{pid} {program(pid)}" for pid in processes_in(directory)]


def installed(name):
    return shutil.which(name) is not None
