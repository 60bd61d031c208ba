"""Recorded dialogues of Dovecot's proxy with backends (tests/transcripts/proxy-*), played to a whole Postern: this side is the client and
the backend at once."""
import re
import socket
import ssl
import time

from .recorded import Event, SETTINGS, masked
from .procs import free_port

PATIENCE = 45  # seconds to wait for a line or a connection: the machine may be busy
# Settings of recordings that are set here, too, beside those of clients' recordings.
PROXY_SETTINGS = (*SETTINGS, "auth_proxy_self", "login_source_ips", "login_proxy_max_reconnects", "login_proxy_max_disconnect_delay")
OWN_PORTS = ("23143", "23343")  # where the recorded proxy listened itself

REMARKS = {"[backend accepts connection": "accept", "[TLS handshake done": "tls", "[backend closes": "backend_close", "[proxy closes client": "end",
           "[client leaves": "leave", "[client half-closes": "half_close"}
AT_BACKEND = ("accept", "tls", "backend", "to_backend", "backend_close")
EXPANDED = re.compile(r"(.)<(\d+) times>")
ELIDED = re.compile(r"<(\d+) (?:repetitive|base64) octets>")


def repeated(text):
    """`x<300 times>` undone."""
    return EXPANDED.sub(lambda match: match.group(1) * int(match.group(2)), text)


class ProxyTranscript:
    def __init__(self, path):
        self.name, self.events, self.logs, self.auth_logs, self.settings, self.remarks = path.name, [], [], [], {}, []
        self.user, self.fields, text = "", "", path.read_text()
        for line in text.splitlines():
            seconds = re.match(r"\s*(\d+\.\d{3}) ", line)
            line = line[seconds.end():] if seconds else line
            if line.startswith("# config: passdb extra fields for "):
                self.user, _, self.fields = line[34:].partition(": ")
            elif line.startswith("# config: "):
                name, equals, value = line[10:].partition("=")
                if equals and name in PROXY_SETTINGS or name.startswith("ssl_"):
                    self.settings[name] = value
            elif line.startswith("# ["):
                kind = next((kind for start, kind in REMARKS.items() if line[2:].startswith(start)), None)
                self.remarks.append(line[3:-1])
                if kind:
                    self.events.append(Event(kind, line))
            elif line.startswith("LOG auth: "):
                self.auth_logs.append(line[4:])
            elif re.match(r"LOG [\w-]+-login: ", line):
                self.logs.append(line[4:])
            elif line[:3] in ("C: ", "S: ", "P: ", "B: ") or line in ("C:", "S:", "P:", "B:"):
                kind = {"C": "client", "S": "server", "P": "to_backend", "B": "backend"}[line[0]]
                self.events.append(Event(kind, repeated(line[3:]) if kind == "backend" else line[3:]))
        self.fields = repeated(self.fields)
        self.program = next((line.partition(":")[0] for line in self.logs), "")

    @property
    def service(self):
        return {"managesieve-login": "sieve"}.get(self.program, self.program.removesuffix("-login"))

    def sources(self):
        """Where the recorded backend's connections came from."""
        return [re.search(r"from ([\d.]+)", event.data).group(1) for event in self.events if event.kind == "accept"]

    def crashed(self):
        """Dovecot did; we go on."""
        return any("killed with signal" in line for line in self.logs)

    def expected_logs(self):
        return [line for line in self.logs if not re.search(r": (Panic|Fatal): ", line)]

    def field(self, name):
        found = re.search(rf"(?:^| ){name}=(\S*)", self.fields)
        return found and found.group(1)

    def backend_closes(self):
        """Whether the recorded backend was the first to close, without a remark that says so."""
        return any("Disconnected by server" in line and "certificate" not in line for line in self.logs)


class Listener:
    """Where the backend listens; with `full` nobody is let in (Linux leaves the SYN unanswered), with `away` nobody is there."""

    def __init__(self, full=False, away=False):
        self.socket, self.port, self._fillers = socket.socket(), free_port(), []
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", self.port))
        self.socket.listen(0 if full else 64)
        for _ in range(4 if full else 0):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)
        self.away = away or full
        if away:
            self.socket.close()

    def accept(self, seconds=PATIENCE):
        self.socket.settimeout(seconds)
        return self.socket.accept()

    def comes_another(self):
        if self.away:
            return False
        try:
            self.accept(0.05)
            return True
        except TimeoutError:
            return False

    def close(self):
        for each in [*self._fillers, self.socket]:
            each.close()


class Side:
    """One of the two connections, by lines."""

    def __init__(self, connection):
        self.socket, self.buffer = connection, b""
        self.socket.settimeout(PATIENCE)

    def line(self):
        """The next line without its end; None when there is none."""
        while b"\n" not in self.buffer:
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                raise AssertionError(f"nothing came for {PATIENCE} s") from None
            except OSError:
                data = b""
            if not data:
                rest, self.buffer = self.buffer, b""
                return rest.decode(errors="surrogateescape") if rest else None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode(errors="surrogateescape")

    def send(self, lines, end="\r\n"):
        try:
            self.socket.sendall("".join(line + end for line in lines).encode(errors="surrogateescape"))
        except OSError:
            pass  # it has closed; what it said before is still read

    def close(self, abruptly=False):
        """With `abruptly` the other side is told of a reset."""
        if abruptly:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


def variable(line):
    """A line of either dialogue without what no two sessions share."""
    line = re.sub(r'("x-session-id") "[^"]*"', r'\1 "S"', line)
    line = re.sub(r'("x-(?:originating|connected)-port") "\d+"', r'\1 "N"', line)
    line = re.sub(r"\bSESSION=\S+", "SESSION=S", line)
    line = re.sub(r"\bPORT=\d+", "PORT=N", line)
    line = re.sub(r"\[[\w.-]+:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]", "[HOST:TIME]", line)
    line = re.sub(r" AUTH=(LOGIN|XOAUTH2|OAUTHBEARER)\b", "", line)
    return re.sub(r"( (?:LOGIN|XOAUTH2|OAUTHBEARER))+(?=\"?$)", "", line) if re.match(r'250[- ]AUTH|"SASL"', line) else line


def same(line, expected):
    """Does a line fit the recorded one, of which the recorder may have left out a part?"""
    if line is None or not ELIDED.search(expected):
        return line is not None and variable(line) == variable(expected)
    parts, at = [], 0
    for match in ELIDED.finditer(expected):
        parts += [re.escape(variable(expected[at:match.start()])), f".{{{match.group(1)}}}"]
        at = match.end()
    return re.fullmatch("".join(parts) + re.escape(variable(expected[at:])), variable(line)) is not None


class ProxyPlayer:
    """Plays one recording, event by event in its order."""

    def __init__(self, postern, recorded, differences, listener, contexts, before_the_end=lambda: None):
        self.postern, self.recorded, self.differences, self.listener, self.contexts = postern, recorded, differences, listener, contexts
        self.client = self.backend = None
        self.before_the_end = before_the_end
        self.connections, self.most, self.skipping, self.failed = 0, differences.connections(recorded.name), False, False
        self.asked = []  # lines that the backend is to get before it goes on
        self.asked_more = False  # between the backend's lines
        self.last = None  # the line to the client that is the last one played
        self.peers = []  # where the backend's connections came from

    def play(self):
        """Raises AssertionError where it goes another way than recorded."""
        events = self.repeated(self.groups())
        for kind in ("server", "to_backend"):
            events = self.differences.apply(self.recorded.name, events, kind)
        events = self.other_answers(events)
        self.last = self.differences.rest(self.recorded.name)
        try:
            for i, event in enumerate(events):
                if self.last is True:
                    break
                if event.kind in AT_BACKEND:
                    self.at_backend(event, events[i + 1:])
                else:
                    self.at_client(event)
            self.finish()
        except AssertionError as error:
            raise AssertionError(f"{self.recorded.name}: {error}") from None
        finally:
            for side in (self.client, self.backend):
                if side:
                    side.close()

    def groups(self):
        """Events, with lines of one side that stand together as one list; what is lost by a crash is put in."""
        out = []
        for event in self.recorded.events:
            if event.kind not in ("server", "to_backend", "backend"):
                out.append(event)
            elif out and out[-1].kind == event.kind:
                out[-1].data.append(event.data)
            else:
                out.append(Event(event.kind, [event.data]))
        answer = self.differences.answer(self.recorded.name)
        if answer and self.recorded.crashed():
            out = [event for event in out if event.kind != "end"] + [Event("server", answer)]
        elif answer:
            made = [i for i, event in enumerate(out) if event.kind == "accept"]
            reply = next(event for event in out[made[min(self.most, len(made) - 1)]:] if event.kind == "server")
            reply.data[:] = answer
        return out

    def repeated(self, events):
        """Where more connections are made than recorded, the last one's dialogue goes on as often, before the client hears of it."""
        made = [i for i, event in enumerate(events) if event.kind == "accept"]
        more = (self.most or 0) - len(made)
        if more <= 0:
            return events
        to = next((i for i in range(made[-1], len(events)) if events[i].kind == "server"), len(events))
        return events[:to] + [event for event in events[made[-1]:to] if event.kind in AT_BACKEND] * more + events[to:]

    def other_answers(self, events):
        """What the backend says where we ask other things than recorded; a row may tell what is asked between its lines."""
        out = []
        for event in events:
            if event.kind != "backend":
                out.append(event)
                continue
            lines = self.differences.lines(self.recorded.name, ["B: " + line for line in event.data])
            self.asked_more |= any(line.startswith("P: ") for line in lines)
            for line in lines:
                kind = "backend" if line.startswith("B: ") else "to_backend"
                if not out or out[-1].kind != kind:
                    out.append(Event(kind, []))
                out[-1].data.append(line[3:])
        return out

    def at_client(self, event):
        if self.client is None:
            self.connect()
        if event.kind == "client":
            self.client.send([event.data])
        elif event.kind == "server":
            for expected in event.data:
                line = self.client.line()
                assert same(line, expected), f"the client hears {line!r}, not {expected!r}"
                if self.last is not None and same(line, self.last):
                    self.last = True
                    return
        elif event.kind == "end":
            if "backend-reset" in self.recorded.name:
                self.backend.close(abruptly=True)
            line = self.client.line()
            assert line is None, f"the client hears {line!r} at the end"
        elif event.kind == "half_close":
            self.client.socket.shutdown(socket.SHUT_WR)
        elif event.kind == "leave":
            self.client.close()

    def connect(self):
        ports = {"imap": self.postern.port, "pop3": self.postern.pop3_port, "submission": self.postern.submission_port,
                 "sieve": self.postern.sieve_port}
        host = "::1" if any("rip=::1" in line for line in self.recorded.logs) else "127.0.0.1"
        self.client = Side(socket.create_connection((host, ports[self.recorded.service]), PATIENCE))

    def at_backend(self, event, later):
        if event.kind == "accept":
            self.skipping = self.most is not None and self.connections >= self.most
        if self.skipping:
            return
        if event.kind == "accept":
            self.accept()
        elif event.kind == "tls":
            self.shake_hands(event.data)
        elif event.kind == "to_backend":
            self.asked += event.data
            if not any(other.kind == "backend" for other in later[:1]):
                self.hear(len(self.asked))
        elif event.kind == "backend":
            self.answer(event.data)
        elif event.kind == "backend_close":
            self.backend.close()
        self.close_behind_the_last(event, later)

    def hear(self, count):
        """The next lines that the backend is to get."""
        for _ in range(count):
            expected = self.asked.pop(0)
            line = self.backend.line()
            assert same(line, expected), f"the backend gets {line!r}, not {expected!r}"

    def answer(self, lines):
        """Says lines together, but each IMAP tag's not before its command is there: we may ask one after the other what is recorded as one."""
        def tag(line):
            return line.partition(" ")[0]
        if self.recorded.service == "imap":
            while later := [i for i, line in enumerate(lines) if tag(line) in map(tag, self.asked)][1:]:
                first = [i for i, line in enumerate(lines) if tag(line) in map(tag, self.asked)][0]
                self.hear([tag(line) for line in self.asked].index(tag(lines[first])) + 1)
                self.say(lines[:later[0]])
                lines = lines[later[0]:]
        self.hear(len(self.asked))
        self.say(lines)

    def accept(self):
        if self.backend:
            self.backend.close()
        if self.client is None:
            self.connect()
        try:
            connection, peer = self.listener.accept()
        except TimeoutError:
            raise AssertionError(f"connection {self.connections + 1} to the backend does not come") from None
        self.connections, self.backend, self.failed, self.asked = self.connections + 1, Side(connection), False, []
        self.peers.append(peer[0])

    def shake_hands(self, note):
        """TLS; what the backend sees of the proxy must be what the note says."""
        seen = []
        context = self.contexts(self.recorded)
        context.sni_callback = lambda _socket, name, _context: seen.append(name)
        try:
            self.backend.socket = context.wrap_socket(self.backend.socket, server_side=True)
        except (OSError, ssl.SSLError):
            self.failed = True  # our side does not like the certificate and says so in the handshake
            return
        name = re.search(r"SNI=([^\];]+)", note).group(1)
        # An address is no server name (RFC 6066): the recorded proxy sent it all the same.
        assert seen == ([None] if re.fullmatch(r"[\d.]+", name) else [name]), f"SNI {seen}, not {name}"
        if "client certificate" in note:
            assert str(self.backend.socket.getpeercert()["subject"]) in note

    def say(self, lines):
        if self.failed:
            return
        if "bare-lf" in self.recorded.name:
            self.backend.send(lines, "\n")
        elif "partial-line" in self.recorded.name and lines[-1].startswith("L OK"):
            self.backend.send(lines[:-1])
            self.backend.send([lines[-1][:6]], "")
            time.sleep(0.3)
            self.backend.send([lines[-1][6:]])
        else:
            self.backend.send(lines)

    def close_behind_the_last(self, event, later):
        """A backend that was the first to close does so when it has nothing more to say and nothing is asked."""
        of_this = []
        for other in later:
            if other.kind == "accept":
                break
            of_this.append(other.kind)
        if any(kind in ("backend", "to_backend", "tls", "backend_close") for kind in of_this):
            return
        again = any(other.kind == "accept" for other in later)
        resets = "backend-reset" in self.recorded.name  # later: it would take back what it has said
        if (self.recorded.backend_closes() and not resets) or (again and event.kind == "accept"):
            for _ in self.differences.at_end(self.recorded.name, "P: "):
                self.backend.line()  # left unread it would make the end a reset
            self.backend.close()

    def finish(self):
        """Whoever is left; nobody may come whom the recording does not know."""
        self.before_the_end()
        if self.client:
            self.client.close(abruptly="client-reset" in self.recorded.name)
        if self.backend and self.backend.socket.fileno() >= 0 and not self.failed and not self.skipping:
            for expected in [] if self.asked_more else self.differences.at_end(self.recorded.name, "P: "):
                line = self.backend.line()
                assert same(line, expected), f"the backend gets {line!r} at the end, not {expected!r}"
            if self.last is None:
                line = self.backend.line()
                assert line is None, f"the backend gets {line!r} at the end"
        assert not self.listener.comes_another(), f"more than {self.connections} connections to the backend"


def masked_proxy(line, user):
    """A log line without what no two sessions share; U is the user."""
    line = re.sub(r"(proxy\([^)]*?)(?:,([\d.a-f:]+):\d+)?\): ", lambda m: m.group(1) + (f",{m.group(2)}:N" if m.group(2) else "") + "): ", line)
    line = line.replace(user, "U")
    line = re.sub(r"\(\d+\.\d{3} secs", "(N secs", line)
    line = re.sub(r"in=\d+, out=\d+(\+\d+)?", "in=N, out=N", line)
    line = re.sub(r"\d+s idle", "Ns idle", line)
    line = re.sub(r"duration=\d+s", "duration=Ns", line)
    line = re.sub(r"(connect\([\d.]+), \d+\)", r"\1, N)", line)
    line = re.sub(r"disconnecting client in \d+ms", "disconnecting client in Nms", line)
    line = re.sub(r"\b(read|write)\(size=\d+\)", r"\1(size=N)", line)
    return masked(line)
