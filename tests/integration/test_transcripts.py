"""The recorded dialogues of clients with Dovecot's imap-login, pop3-login, submission-login and managesieve-login, played to a whole
Postern with a scripted auth server: replies, log lines and what TLS shows are the recorded ones, but for tests/transcripts/differences.txt."""
import base64
import collections
import os
import queue
import re
import signal
import socket
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from harness.certificates import Authority
from harness.postern import ROOT
from harness.procs import free_port
from harness.recorded import PROTOCOLS, TRANSCRIPTS, Differences, Transcript, masked, message, outcomes
from harness.scripted_auth import ScriptedAuth

ALONE = re.compile(r"shutdown|queue-full|auth-not-running|auth-server-closes")  # these need a Postern for themselves
SILENT = re.compile(r"shutdown-auth-not-ready|auth-not-running")               # and these an auth server that says nothing
GONE = re.compile(r"auth-server-closes")                                      # and this one that leaves


class Certificates:
    """What the recorded server showed, and its clients."""

    def __init__(self, directory):
        self.authority, rogue = Authority(directory / "ca"), Authority(directory / "rogue", "Rogue CA")
        self.rsa = self.authority.issue("rsa", ["mail.example.test"], use_rsa=True)
        self.ec = self.authority.issue("ec", ["mail.example.test"])
        self.named = self.authority.issue("named", ["alt.example.test"], use_rsa=True)
        self.clients = {"client": self.authority.issue("client", ["certuser"]), "rogue": rogue.issue("rogue", ["certuser"])}

    def settings(self, recorded):
        out = {"ssl_cert": f"<{self.rsa.cert}", "ssl_key": f"<{self.rsa.key}"}
        if "ssl_alt_cert=" in recorded.config:
            out |= {"ssl_alt_cert": f"<{self.ec.cert}", "ssl_alt_key": f"<{self.ec.key}"}
        if "ssl_ca=" in recorded.config:
            out["ssl_ca"] = f"<{self.authority.cert}"
        return out

    def local_name(self, recorded):
        name, settings = recorded.local_name()
        if not name:
            return ""
        settings = {"ssl_cert": f"<{self.named.cert}", "ssl_key": f"<{self.named.key}", **settings}
        return f"\n[local_name {name}]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())

    def shake_hands(self, connection, note):
        """TLS as the recording's note has it; the certificate shown must be the one that it names."""
        context = ssl.create_default_context(cafile=self.authority.cert)
        context.check_hostname = False
        name, client = re.search(r"SNI ([\w.]+)", note), re.search(r"client cert (\w+)", note)
        if client:
            context.load_cert_chain(self.clients[client.group(1)].cert, self.clients[client.group(1)].key)
        if "TLSv1.2" in note:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if " EC key" in note:
            context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        connection = context.wrap_socket(connection, server_hostname=name and name.group(1))
        shown = x509.load_der_x509_certificate(connection.getpeercert(True))
        kind = "RSA" if isinstance(shown.public_key(), rsa.RSAPublicKey) else "EC"
        subject = shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        words = f"TLS handshake ok: {connection.version()}; server cert subject=CN = {subject} {kind} key"
        assert words in note, f"{words}, not {note}"
        return connection


class LoggedIn(Exception):
    """From here on the mail service speaks in the recording."""


class Player:
    """Plays one recording."""

    def __init__(self, postern, auth, certificates, recorded):
        self.postern, self.auth, self.certificates, self.recorded = postern, auth, certificates, recorded
        self.buffer, self.expected, self.said, self.logins, self.crowd = b"", [], [], 0, []
        ports = {**postern.haproxy_ports, "imap": postern.port, "imaps": postern.tls_port, "pop3": postern.pop3_port,
                 "pop3s": postern.pop3s_port, "submission": postern.submission_port, "submissions": postern.submissions_port,
                 "sieve": postern.sieve_port, "sieves": postern.sieves_port}
        self.port = ports[recorded.listener]
        self.socket = socket.create_connection(("127.0.0.1", self.port), 10, source_address=(recorded.source, 0))

    def play(self, differences):
        """Raises LoggedIn when it has told the client that there is no mail service to go to."""
        name = self.recorded.name
        try:
            for event in differences.apply(name, self.recorded.groups()):
                if event.kind == "client":
                    self.send(event.data)
                elif event.kind == "server":
                    self.hear(event.data)
                elif event.kind == "tls":
                    if not re.search("TLS is already active", "".join(self.said[-1:])):
                        self.socket.settimeout(10)
                        self.socket = self.certificates.shake_hands(self.socket, event.data)
                elif event.kind == "stop":
                    time.sleep(0.5)  # the connection is accepted, and more has not happened
                    if any("Auth process broken" in line for line in self.recorded.logs):
                        self.auth.close()  # it was gone first
                    else:
                        os.kill(self.postern.pid, signal.SIGTERM)
                elif event.kind == "end":
                    self.hear_the_end(differences.at_end(name))
                    break
                else:
                    self.leave()
                    break
        except LoggedIn:
            self.hear_the_end(differences.at_end(self.recorded.protocol + "-handoff-fails.txt"))
            raise
        finally:
            self.socket.close()
        # Who left without waiting is told of all the same.
        until = time.monotonic() + 0.3
        while self.unanswered() and time.monotonic() < until:
            self.answer()
            time.sleep(0.02)

    def hear(self, lines):
        self.expected = lines
        while self.expected:
            if "Connection queue full" in self.expected[0] and not self.crowd:
                self.press()
            line = self.line()
            assert line == self.mask(self.expected[0]), f"{self.recorded.name}: said {line!r}, not {self.expected[0]!r}"
            self.said.append(self.expected.pop(0))

    def hear_the_end(self, expected):
        self.expected, rest = expected, []
        while not (self.recorded.crashed() and len(rest) == len(expected)) and (line := self.line()) is not None:
            rest.append(line)
        assert rest == expected, f"{self.recorded.name}: said {rest} at the end"

    def press(self):
        """More clients for the two places, one after another, who stay until the recording is over: the recorded number is out then."""
        for i in range(len(self.recorded.logs) + 1):
            self.crowd.append(socket.create_connection(("127.0.0.1", self.port), 10, source_address=(f"127.0.0.{40 + i}", 0)))
            self.crowd[-1].settimeout(10)
            assert self.crowd[-1].recv(1000)

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
        until = time.monotonic() + 15
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
        if GONE.search(self.recorded.name):
            return self.auth.drop()
        ident = request[1]
        reply = self.recorded_reply(request) or self.known_reply(request) or self.fitting_reply(request)
        return self.auth.say(reply[0], ident, *reply[1:])

    def recorded_reply(self, request):
        """What the recording's auth server said to that."""
        def core(line):  # verb, mechanism or nothing, response or nothing
            last = line[-1]
            return line[0], line[2] if line[0] == "AUTH" else "", last if line[0] == "CONT" or last.startswith("resp=") else ""
        for asked in self.recorded.asked:
            recorded = self.recorded.answers.get(asked[1])
            if recorded and core(asked) == core(request):
                reply = recorded.pop(0)
                return [reply[0], *reply[2:]]
        return None

    def known_reply(self, request):
        """What it must have said for what the recording's table of outcomes tells."""
        self.logins += request[0] == "AUTH"
        outcome, text, host = outcomes(self.recorded.protocol).get((self.recorded.name, self.logins), ("", "", ""))
        if not outcome:
            return None
        reason, user = ["reason=" + text] if text else [], "user=" + self.user(request)
        if outcome == "wrong_credentials":
            return ["FAIL", *reason]
        if outcome == "login_disabled":
            return ["OK", user, "nologin", *reason]
        if outcome == "referral":
            return ["OK", user, "nologin", "host=" + host, *reason]
        if outcome == "proxy_unavailable":
            port = self.port if "-loop" in self.recorded.name else 22999
            return ["OK", user, "proxy", "host=127.0.0.1", f"port={port}", "pass=pass"]
        assert outcome == "handoff_failed", outcome
        return ["OK", user]

    @staticmethod
    def user(request):
        return (base64.b64decode(request[-1].removeprefix("resp=")).split(b"\0") + [b""])[1].decode(errors="surrogateescape")

    def fitting_reply(self, request):
        """What the next recorded reply follows from."""
        expected = self.expected[0] if self.expected else ""
        challenge = re.match(r"(?:\+|334) (.*)", expected)
        if challenge:
            return ["CONT", challenge.group(1)]
        if expected.startswith('"'):
            return ["CONT", expected[1:-1]]
        if re.match(r"\w+ OK |\* CAPABILITY |\+OK |235 |250 |OK ", expected):
            named = re.search(r"user=<([^>]+)>", self.recorded.logs[-1] if self.recorded.logs else "")
            self.auth.say("OK", request[1], "user=" + (named.group(1) if named else "alice"))
            raise LoggedIn
        # Auth names the user in its own form, if it took the name for one.
        fields, last = [], self.recorded.logs[-1] if self.recorded.logs else ""
        named = re.search(r"user=<([^>?]+)>", last)
        if named and not named.group(1).endswith("..."):
            fields = ["user=" + named.group(1)]
        elif named:
            fields = ["user=" + self.user(request)]
        reason = re.match(r"\w+ NO \[ALERT\] (.*)", expected)
        if reason:
            fields.append("reason=" + reason.group(1))
        return ["FAIL", *fields]


def logged_since(postern, program, start, enough):
    """Lines of a login program behind byte `start`, once `enough` of them are there."""
    until = time.monotonic() + 5
    while True:
        with postern.log.open("rb") as log:
            log.seek(start)
            text = log.read().decode(errors="replace")
        lines = [line[16:] for line in text.splitlines() if line[16:].startswith(program + ": ")]
        if (lines and len(lines) >= enough and re.search("Disconnected: |haproxy", lines[-1])) or time.monotonic() > until:
            return lines
        time.sleep(0.02)


def names():
    return sorted(path.name for protocol in PROTOCOLS for path in TRANSCRIPTS.glob(protocol + "-*.txt"))


def by_configuration():
    out, differences = collections.defaultdict(list), Differences()
    for name in names():
        if differences.left_out(name) is None:
            recorded = Transcript(TRANSCRIPTS / name)
            out[recorded.protocol, recorded.config, ALONE.search(name) and name, "-timeout-" in name].append(recorded)
    return list(out.values())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("recorded"))


def serve(postern, auth, certificates, first):
    """Starts a Postern with the configuration of a recording."""
    postern.settings |= first.settings() | certificates.settings(first)
    postern.settings["auth_socket_path"] = str(postern.directory / "auth.sock")
    if "-timeout-" in first.name or "auth-not-running" in first.name:
        postern.settings["login_timeout"] = "12 secs" if "auth-not-running" in first.name else "2 secs"
    if "queue-full" in first.name:
        postern.service = {"service_count": "0", "client_limit": "2", "process_limit": "1", "process_min_avail": "1"}
    postern.haproxy_ports = {f"{first.service}{s}-haproxy": free_port() for s in ("", "s")}
    for name, port in postern.haproxy_ports.items():
        postern.extra += (f"\n[inet_listener {first.program} {name}]\nport = {port}\nhaproxy = yes\n"
                          + "ssl = yes\n" * name.endswith("s-haproxy"))
    postern.extra += certificates.local_name(first)
    postern.start(ready=not SILENT.search(first.name))
    if SILENT.search(first.name):
        postern.wait_log(r"Postern v\S+ starting up", 20)
    else:
        logged_since(postern, first.program, 0, 1)


def compare(postern, auth, certificates, recorded, differences):
    """Plays it; what differs from it, as text."""
    start, logs, wrong = postern.log.stat().st_size, list(recorded.logs), []
    while not auth.requests.empty():
        auth.requests.get_nowait()
    ends_otherwise = recorded.crashed()  # or in a login
    logs = [line for line in logs if "killed with signal" not in line]
    player = Player(postern, auth, certificates, recorded)
    expected = [masked(line) for line in logs]
    try:
        player.play(differences)
        expected = differences.log(recorded.name, expected)
    except LoggedIn:
        ends_otherwise = True
        expected = [line for line in expected if not re.match(recorded.program + r": Info: (Login\b|Disconnected: )", line)]
    except AssertionError as error:
        wrong.append(str(error))
    ours = logged_since(postern, recorded.program, start, len(expected) + ends_otherwise)
    for other in player.crowd:
        other.close()
    if ends_otherwise:
        if not recorded.crashed() and not any("no mail service to hand the login to" in line for line in ours):
            wrong.append(f"{recorded.name}: {ours}")
        if recorded.crashed() and "(internal failure, 1 successful auths)" not in ours[-1]:
            wrong.append(f"{recorded.name}: {ours}")
        ours = [line for line in ours if "Disconnected: " not in line and "no mail service to" not in line]
    ours = [masked(line) for line in ours]
    whole = [message(line) if i < len(expected) and not expected[i].startswith(recorded.program + ": ") else line
             for i, line in enumerate(ours)]
    if whole != expected:
        wrong.append("\n".join([f"{recorded.name}: the log says", *ours, "  where it should be", *expected]))
    if not ends_otherwise and not wrong:
        wrong += [f"not needed: {row}" for row in differences.stale(recorded)]
    return wrong


@pytest.mark.parametrize("transcripts", by_configuration(), ids=lambda group: group[0].name[:-4])
def test_are_repeated_with_their_log_lines(make_postern, certificates, transcripts):
    postern, differences, wrong, first = make_postern(), Differences(), [], transcripts[0]
    auth = ScriptedAuth(postern.directory / "auth.sock", None if SILENT.search(first.name) else first.mechanisms())
    serve(postern, auth, certificates, first)
    for recorded in transcripts:
        wrong += compare(postern, auth, certificates, recorded, differences)
    auth.close()
    assert not wrong, "\n".join(wrong)


def test_what_is_left_out_is_listed():
    """Each such row names a recording, and doc/status.md those that end in the mail service."""
    differences, waiting = Differences(), set()
    for name in names():
        reason = differences.left_out(name)
        if "hand-over" in (reason or "") or any(message(line) == "Login" for line in Transcript(TRANSCRIPTS / name).logs):
            waiting.add(name.removesuffix(".txt"))
    assert not [row for row in differences.rows
                if row[1] == "(not over the wire)" and row not in differences.used and not row[0].startswith("proxy-")]
    text = (ROOT / "doc/status.md").read_text().partition("## Recordings that need the hand-over")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([\w-]+)`", text)) == waiting
