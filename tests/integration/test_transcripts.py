"""The recorded dialogues of clients with Dovecot's imap-login, pop3-login, submission-login and managesieve-login, played to a whole
Postern with a scripted auth server:
replies and log lines are the recorded ones, but for tests/transcripts/differences.txt and LOG_DIFFERENCES below."""
import base64
import collections
import fnmatch
import os
import queue
import re
import socket
import threading
import time

import pytest

from harness.postern import ROOT
from harness.procs import free_port

TRANSCRIPTS = ROOT / "tests/transcripts"

# What is not played here, and why.
LEFT_OUT = {
    "*-haproxy-v2-starttls.txt": "TLS is not started inside TLS: test_haproxy.py",
    "*-haproxy-split.txt": "the rest of the header is waited for: test_haproxy.py",
    "*-cert-*": "need certificates to show: test_client_certificates.py",
    "*-sni*": "need names: test_tls.py",
    "*-altcert-ecdsa.txt": "needs a second certificate: test_tls.py",
    "*-timeout-*": "three minutes each",
    "*-queue-full*": "needs a full service: test_crowding.py",
    "*-shutdown*": "needs a stop: test_start_stop.py",
    "*-handoff-fails.txt": "the login succeeds",
    "*-userip-limit.txt": "the login succeeds",
    "*-proxy-*": "test_backend_failures.py",
    "*-referral.txt": "the login succeeds, or needs fields that the recording does not show",
    "*-nologin*": "fields that the recording does not show; imap-fail-nologin* has them",
    "*-auth-not-running.txt": "a silent auth server, for ten seconds",
    "*-auth-server-closes.txt": "test_deaths.py",
    "*-auth-server-slow.txt": "twelve seconds",
    "*-auth-fail-delay.txt": "the delay is auth's",
    "pop3-long-command.txt": "a line that is named in its title and not in it",
    "submission-implicit-external.txt": "needs a certificate to show: test_client_certificates.py",
    "submission-long-helo-login.txt": "the login succeeds",
    "submission-submissions.txt": "Dovecot breaks where we go on: test_submission.py",
}

# What our log says where it differs on purpose: messages, without the elements.
INITIAL = "Authenticate PLAIN failed: Invalid base64 data in initial response"
CONTINUED = "Authenticate PLAIN failed: Invalid base64 in response"
NO_BASE64 = "Disconnected: Connection closed (sent invalid base64 in response)"
NO_ATTEMPT = "(no auth attempts in N secs)"
MESSAGES = {
    # base64 is checked here and not in auth, and always called what it is
    "imap-auth-bad-base64-one.txt": [INITIAL, NO_BASE64],
    "imap-auth-bad-base64.txt": [INITIAL, CONTINUED, NO_BASE64],
    "imap-auth-base64-padding.txt": [INITIAL] * 4 + [NO_BASE64],
    "imap-auth-base64-tab-wire.txt": [INITIAL, INITIAL, CONTINUED, INITIAL, NO_BASE64],
    "imap-auth-base64-tab.txt": [INITIAL, CONTINUED, INITIAL, CONTINUED, NO_BASE64],
    # thirty pairs, and the first ID was too long to count
    "imap-id-many.txt": ["ID sent: " + ", ".join(f"k{i}=v" for i in range(20)), f"Disconnected: Connection closed {NO_ATTEMPT}"],
    # said so, instead of what OpenSSL makes of it; and OpenSSL says it better without a BIO pair
    "imap-starttls-injection.txt": [f"Disconnected: Plaintext input after STARTTLS {NO_ATTEMPT}"],
    "imap-starttls-garbage.txt": ["Disconnected: Connection closed: SSL_accept() failed: error:0A00010B:SSL routines::"
                                  f"wrong version number {NO_ATTEMPT}"],
    # a command with a NUL in it is none, and so no attempt
    "imap-login-control-chars.txt": ["Disconnected: Connection closed (auth failed, 3 attempts in N secs)"],
    # every line that is no response is told of, and what it left behind is not the next one's
    "managesieve-auth-args.txt": [INITIAL, NO_BASE64],
    "managesieve-auth-bad-base64.txt": [INITIAL, INITIAL, NO_BASE64],
    "managesieve-auth-base64-tab-wire.txt": [INITIAL, INITIAL, NO_BASE64],
    "managesieve-auth-cancel.txt": ["Authenticate PLAIN failed: Received empty AUTHENTICATE client response line.",
                                    "Disconnected: Aborted login by logging out (auth failed, 2 attempts in N secs)"],
    "managesieve-auth-huge-literal2.txt": [f"Disconnected: Authentication response too large {NO_ATTEMPT}"],
    "managesieve-auth-twice.txt": ["Authenticate PLAIN failed: Invalid AUTHENTICATE client response.",
                                   "Disconnected: Aborted login by logging out (auth failed, 2 attempts in N secs)"],
    "managesieve-starttls-injection.txt": [f"Disconnected: Plaintext input after STARTTLS {NO_ATTEMPT}"],
    "pop3-auth-bad-base64.txt": [INITIAL, CONTINUED, NO_BASE64],
    "pop3-auth-base64-tab-wire.txt": [INITIAL, CONTINUED, NO_BASE64],
    "pop3-nul-byte.txt": [f"Disconnected: Connection closed {NO_ATTEMPT}"],
    "submission-auth-bad-base64.txt": [INITIAL, CONTINUED,
                                       "Disconnected: Aborted login by logging out (sent invalid base64 in response)"],
    "submission-auth-bad-base64-sp.txt": [CONTINUED, NO_BASE64],
    "submission-starttls-injection.txt": [f"Disconnected: Plaintext input after STARTTLS {NO_ATTEMPT}"],
    # what stands behind QUIT is not looked at
    "submission-quit-args.txt": [f"Disconnected: Aborted login by logging out {NO_ATTEMPT}"],
    "pop3-stls-injection.txt": [f"Disconnected: Plaintext input after STARTTLS {NO_ATTEMPT}"],
}

SETTINGS = ("haproxy_trusted_networks", "disable_plaintext_auth", "ssl", "auth_verbose", "login_trusted_networks", "imap_id_retain", "imap_id_log",
            "imap_capability", "imap_id_send", "imap_literal_minus", "login_greeting", "submission_max_mail_size",
            "submission_client_workarounds", "submission_backend_capabilities", "managesieve_implementation_string")
SERVICES = {"managesieve": "sieve"}  # where it is not the program's
FLAGS = {"PLAIN": "\tplaintext", "LOGIN": "\tplaintext", "APOP": "\tprivate", "ANONYMOUS": "\tanonymous"}
LONG_ELEMENTS = ("user=<%u> method=%m rip=%r lip=%l lport=%a rport=%b svc=%s mpid=%e %c %k session=<%{session}> "
                 "orig=%{orig_user} ln=%{local_name} lst=%{listener}")

Event = collections.namedtuple("Event", "kind data")


def unescape(text):
    def one(match):
        word = match.group(1)
        return bytes([int(word[1:], 16)]) if word[:1] == b"x" else {b"r": b"\r", b"n": b"\n", b"t": b"\t"}.get(word, word)
    return re.sub(rb"\\(x[0-9a-fA-F]{2}|.)", one, text.encode())


def expression(text):
    """`"text" + "x" * 5 + 3 pairs "kN" "v"*2`: the recorder's shorthand."""
    out = b""
    for string, times, pairs, key, value, long in re.findall(
            r'"((?:\\.|[^"\\])*)"(?:\s*\*\s*(\d+))?|(\d+) pairs(?: "(\w+)N" "(\w+)"(?:\*(\d+))?)?', text):
        if pairs:
            value = (value or "v") * int(long or 1)
            out += " ".join(f'"{key or "k"}{i}" "{value}"' for i in range(int(pairs))).encode()
        else:
            out += unescape(string) * int(times or 1)
    return out


class Transcript:
    def __init__(self, path):
        self.name, self.events, self.logs, self.asked, self.answers = path.name, [], [], [], {}
        self.protocol = path.name.partition("-")[0]
        self.config = self.server = ""
        for line in path.read_text().splitlines():
            line = re.sub(r"^\s*\d+\.\d{3} ", "", line)
            body = line[3:]
            if line.startswith("# config: "):
                self.config = line[10:]
            elif line.startswith("# server: "):
                self.server = line
            elif line.startswith(f"LOG {self.protocol}-login: "):
                self.logs.append(line[4:])
            elif line.startswith("AUTH> "):
                self.asked.append(unescape(line[6:]).decode().split("\t"))
            elif line.startswith("AUTH< "):
                fields = unescape(line[6:]).decode().split("\t")
                self.answers.setdefault(fields[1], []).append(fields)
            elif line.startswith("C: ") or line == "C:":
                self.events.append(Event("client", unescape(body) + b"\r\n"))
            elif line.startswith("C> "):
                self.events.append(Event("client", expression(body) if body.startswith('"') else unescape(body)))
            elif line.startswith("S: "):
                self.events.append(Event("server", unescape(body).decode(errors="surrogateescape")))
            elif line.startswith("# [TLS handshake ok"):
                self.events.append(Event("tls", line))
            elif line.startswith(("# [client closes", "# [connection reset")):
                self.events.append(Event("close", line))
            elif line.startswith("# [server closed"):
                self.events.append(Event("end", line))

    @property
    def service(self):
        return SERVICES.get(self.protocol, self.protocol)

    @property
    def source(self):
        return re.search(r"client source ([\d.]+)", self.server).group(1)

    def settings(self):
        protocols = "imap" if self.service == "imap" else "imap " + self.service
        out = {"protocols": protocols, "managesieve_implementation_string": "Dovecot (Debian) Pigeonhole",
               "hostname": "mail.example.test", "login_greeting": "Dovecot (Debian) ready.", "auth_verbose": "no"}
        own = self.config.partition("local_name alt")[0]
        for name, quoted, plain in re.findall(r'(\w+)=(?:"((?:\\.|[^"\\])*)"|(\S+))', own):
            if name in SETTINGS:
                out[name] = unescape(quoted).decode() if quoted else plain.rstrip(",;")
        if "longer login_log_format_elements" in self.config:
            out |= {"login_log_format": "%$ | %s", "login_log_format_elements": LONG_ELEMENTS}
        return out

    def mechanisms(self):
        if "scripted auth server" in self.config:
            return ["PLAIN", "CRAM-MD5", "ANONYMOUS"] + (["APOP"] if self.protocol == "pop3" else [])
        found = re.search(r'auth_mechanisms=(?:"([^"]*)"|([\w-]+))', self.config)
        return ((found.group(1) or found.group(2)) if found else "plain").upper().split()

    def groups(self):
        """Events, with replies that stand together as one list."""
        out = []
        for event in self.events:
            if event.kind != "server":
                out.append(event)
            elif out and out[-1].kind == "server":
                out[-1].data.append(event.data)
            else:
                out.append(Event("server", [event.data]))
        return out


class Differences:
    def __init__(self):
        self.rows = [line.split("\t") for line in (TRANSCRIPTS / "differences.txt").read_text().splitlines()
                     if line and not line.startswith("#")]

    def of(self, name):
        return [(row[1].split("\\n"), [] if row[2] == "(nothing)" else row[2].split("\\n"))
                for row in self.rows if fnmatch.fnmatchcase(name, row[0])]

    def apply(self, name, groups):
        """Groups of events with what is said here. Of a row with as many lines as it replaces each stays in its place, of another all
        stand in the first."""
        out = [event if event.kind != "server" else Event("server", []) for event in groups]
        lines = [(i, "S: " + line) for i, event in enumerate(groups) if event.kind == "server" for line in event.data]
        while lines:
            for theirs, ours in self.of(name):
                if [line for _, line in lines[:len(theirs)]] == theirs:
                    break
            else:
                theirs, ours = [lines[0][1]], [lines[0][1]]
            for i, line in enumerate(ours):
                out[lines[i if len(ours) == len(theirs) else 0][0]].data.append(line[3:])
            lines = lines[len(theirs):]
        return out

    def at_end(self, name):
        return [line[3:] for theirs, ours in self.of(name) if theirs == ["(end)"] for line in ours]


class ScriptedAuth:
    """An auth server that offers what it is told and leaves the answers to others."""

    def __init__(self, path, mechanisms):
        self.requests, self.connection = queue.Queue(), None
        self.hello = "VERSION\t1\t2\n" + "".join(f"MECH\t{name}{FLAGS.get(name, '')}\n" for name in mechanisms)
        self.hello += f"SPID\t{os.getpid()}\nCUID\t1\nCOOKIE\t{'0' * 32}\nDONE\n"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        os.chmod(path, 0o666)
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connection = connection
            connection.sendall(self.hello.encode())
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection):
        for line in connection.makefile("rb"):
            fields = line.decode(errors="surrogateescape").rstrip("\n").split("\t")
            if fields[0] in ("AUTH", "CONT"):
                self.connection = connection  # more than one process may be connected; this one asked
                self.requests.put(fields)

    def say(self, *fields):
        self.connection.sendall(("\t".join(fields) + "\n").encode(errors="surrogateescape"))

    def close(self):
        self.listener.close()


class LoggedIn(Exception):
    """From here on the mail service speaks in the recording."""


class Player:
    def __init__(self, postern, auth, tls, recorded):
        self.auth, self.tls, self.recorded, self.buffer, self.lines = auth, tls, recorded, b"", []
        self.expected = []
        self.crashed = any("killed with signal" in line for line in recorded.logs)  # Dovecot; we go on
        listener = re.search(r'listener "([\w-]+)"', recorded.server)
        ports = {**postern.haproxy_ports, "imap": postern.port, "imaps": postern.tls_port, "pop3": postern.pop3_port,
                 "pop3s": postern.pop3s_port, "submission": postern.submission_port, "submissions": postern.submissions_port,
                 "sieve": postern.sieve_port, "sieves": postern.sieves_port}
        port = ports.get(listener and listener.group(1), ports[recorded.service])
        self.socket = socket.create_connection(("127.0.0.1", port), 10, source_address=(recorded.source, 0))

    def play(self, differences):
        name = self.recorded.name
        try:
            for event in differences.apply(name, self.recorded.groups()):
                if event.kind == "client":
                    self.send(event.data)
                elif event.kind == "tls":
                    self.socket.settimeout(10)
                    self.socket = self.tls.wrap_socket(self.socket, server_hostname="localhost")
                elif event.kind == "server":
                    self.expected = event.data
                    while self.expected:
                        line = self.line()
                        assert line == self.mask(self.expected[0]), f"{name}: said {line!r}, not {self.expected[0]!r}"
                        self.expected.pop(0)
                elif event.kind == "end":
                    self.expected = differences.at_end(name)
                    rest = []
                    while not (self.crashed and len(rest) == len(self.expected)) and (line := self.line()) is not None:
                        rest.append(line)
                    assert rest == self.expected, f"{name}: said {rest} at the end"
                else:
                    self.leave()
                    break
        finally:
            self.socket.close()
        # Who left without waiting is told of all the same.
        until = time.monotonic() + 0.3
        while self.unanswered() and time.monotonic() < until:
            self.answer()
            time.sleep(0.02)

    def leave(self):
        """Says that nothing follows, and reads a moment longer: a close with something unread would be a reset."""
        until = time.monotonic() + 0.2
        try:
            self.socket.shutdown(socket.SHUT_WR)
            while time.monotonic() < until:
                self.socket.settimeout(0.05)
                try:
                    if not self.socket.recv(65536):
                        return
                except TimeoutError:
                    pass
        except OSError:
            pass  # it was first to leave

    def send(self, data):
        self.socket.settimeout(10)
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # it may have closed already; what it said is still read

    @staticmethod
    def mask(line):
        line = re.sub(r"\[[\w.-]+:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]", "[HOST:TIME]", line)
        line = re.sub(r" <[0-9a-f]+\.[0-9a-f]+\.[0-9a-f]+\.[\w+/=]+@[\w.-]+>$", " <CHALLENGE>", line)
        return re.sub(r"pid=\d+", "pid=N", line)

    def line(self):
        """The next line; None at the end. Answers auth's requests meanwhile."""
        until = time.monotonic() + 10
        while b"\n" not in self.buffer:
            assert time.monotonic() < until, f"{self.recorded.name}: nothing said; expected {self.expected[:1]}"
            self.socket.settimeout(0.03)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                self.answer()
                continue
            except OSError:
                data = b""
            if not data:
                assert not self.buffer, self.buffer
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return self.mask(line.rstrip(b"\r").decode(errors="surrogateescape"))

    def unanswered(self):
        return [event.kind for event in self.recorded.groups()[-2:]] in (["client", "close"], ["server", "client"])

    def answer(self):
        try:
            request = self.auth.requests.get_nowait()
        except queue.Empty:
            return
        def core(line):  # verb, mechanism or nothing, response or nothing
            last = line[-1]
            return line[0], line[2] if line[0] == "AUTH" else "", last if line[0] == "CONT" or last.startswith("resp=") else ""
        ident, sent = request[1], request[-1].removeprefix("resp=")
        for asked in self.recorded.asked:
            recorded = self.recorded.answers.get(asked[1])
            if recorded and core(asked) == core(request):
                reply = recorded.pop(0)
                return self.auth.say(reply[0], ident, *reply[2:])
        expected = self.expected[0] if self.expected else ""
        challenge = re.match(r"(?:\+|334) (.*)", expected)
        if challenge:
            return self.auth.say("CONT", ident, challenge.group(1))
        if expected.startswith('"'):
            return self.auth.say("CONT", ident, expected[1:-1])
        if re.match(r"\w+ OK |\* CAPABILITY |\+OK |235 |OK ", expected):
            self.auth.say("FAIL", ident)
            raise LoggedIn
        # Auth names the user in its own form, if it took the name for one.
        fields, last = [], self.recorded.logs[-1] if self.recorded.logs else ""
        named = re.search(r"user=<([^>?]+)>", last)
        if named and not named.group(1).endswith("..."):
            fields = ["user=" + named.group(1)]
        elif named:
            fields = ["user=" + base64.b64decode(sent).decode(errors="surrogateescape").split("\0")[1]]
        reason = re.match(r"\w+ NO \[ALERT\] (.*)", expected)
        if reason:
            fields.append("reason=" + reason.group(1))
        self.auth.say("FAIL", ident, *fields)


def masked(line):
    line = re.sub(r"session=<[^>]*>", "session=<S>", line)
    line = re.sub(r"\b(in|waited) \d+ secs", r"\1 N secs", line)
    line = re.sub(r"\b(lport|rport|pid)=\d+", r"\1=N", line)
    return re.sub(r"\[[\w.-]+:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]", "[HOST:TIME]", line)


def logged_since(postern, program, start, enough):
    """Lines of a login program behind byte `start`, once `enough` of them are there."""
    until = time.monotonic() + 5
    while True:
        with postern.log.open("rb") as log:
            log.seek(start)
            text = log.read().decode(errors="replace")
        lines = [line[16:] for line in text.splitlines() if line[16:].startswith(program + ": ")]
        if (len(lines) >= enough and re.search("Disconnected: |haproxy", lines[-1])) or time.monotonic() > until:
            return lines
        time.sleep(0.02)


def by_configuration():
    out = collections.defaultdict(list)
    for path in (path for protocol in ("imap", "pop3", "submission", "managesieve") for path in sorted(TRANSCRIPTS.glob(protocol + "-*.txt"))):
        if not any(fnmatch.fnmatchcase(path.name, pattern) for pattern in LEFT_OUT):
            recorded = Transcript(path)
            out[recorded.protocol, recorded.config].append(recorded)
    return list(out.values())


@pytest.mark.parametrize("transcripts", by_configuration(), ids=lambda group: group[0].name[:-4])
def test_are_repeated_with_their_log_lines(make_postern, tls, transcripts):
    postern, differences, wrong = make_postern(), Differences(), []
    postern.settings |= transcripts[0].settings()
    auth = ScriptedAuth(postern.directory / "auth.sock", transcripts[0].mechanisms())
    postern.settings["auth_socket_path"] = str(postern.directory / "auth.sock")
    program = transcripts[0].protocol + "-login"
    postern.haproxy_ports = {f"{transcripts[0].service}{s}-haproxy": free_port() for s in ("", "s")}
    for name, port in postern.haproxy_ports.items():
        postern.extra += f"\n[inet_listener {program} {name}]\nport = {port}\nhaproxy = yes\n" + "ssl = yes\n" * name.endswith("s-haproxy")
    postern.start()
    logged_since(postern, program, 0, 1)
    for recorded in transcripts:
        start, logs = postern.log.stat().st_size, list(recorded.logs)
        while not auth.requests.empty():
            auth.requests.get_nowait()
        logged_in = False
        crashed = any("killed with signal" in line for line in logs)  # Dovecot; we go on, and say how it ended
        logs = [line for line in logs if "killed with signal" not in line]
        try:
            Player(postern, auth, tls, recorded).play(differences)
        except LoggedIn:
            logged_in = True
            logs = [line for line in logs if not re.match(program + r": Info: (Login\b|Disconnected: )", line)]
        except AssertionError as error:
            wrong.append(str(error))
        enough = len(MESSAGES.get(recorded.name, logs)) + (logged_in or crashed)
        ours = logged_since(postern, program, start, enough)
        if crashed:
            assert "(internal failure, 1 successful auths)" in ours[-1], ours
        if logged_in or crashed:
            ours = [line for line in ours if "Disconnected: " not in line]
        ours, expected = [masked(line) for line in ours], [masked(line) for line in logs]
        if recorded.name in MESSAGES:
            ours = [line.removeprefix(program + ": Info: ").partition(": user=")[0] for line in ours]
            expected = MESSAGES[recorded.name]
        if ours != expected:
            wrong.append("\n".join([f"{recorded.name}: the log says", *ours, "  where it should be", *expected]))
    auth.close()
    assert not wrong, "\n".join(wrong)
