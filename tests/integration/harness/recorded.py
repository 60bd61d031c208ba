"""Recorded dialogues and the table of what is different here on purpose: tests/transcripts/README.md tells their form."""
import collections
import fnmatch
import re

from .postern import ROOT

TRANSCRIPTS = ROOT / "tests/transcripts"
PROTOCOLS = ("imap", "pop3", "submission", "managesieve")

# Those of a recording's settings that are set here, too.
SETTINGS = ("haproxy_trusted_networks", "disable_plaintext_auth", "ssl", "auth_verbose", "login_trusted_networks", "imap_id_retain", "imap_id_log",
            "imap_capability", "imap_id_send", "imap_literal_minus", "login_greeting", "submission_max_mail_size",
            "submission_client_workarounds", "submission_backend_capabilities", "managesieve_implementation_string", "ssl_require_crl",
            "ssl_verify_client_cert", "auth_ssl_require_client_cert", "auth_ssl_username_from_cert")
SERVICES = {"managesieve": "sieve"}  # where it is not the program's
LONG_ELEMENTS = ("user=<%u> method=%m rip=%r lip=%l lport=%a rport=%b svc=%s mpid=%e %c %k session=<%{session}> "
                 "orig=%{orig_user} ln=%{local_name} lst=%{listener}")
LOCAL_NAME = r"local_name ([\w.]+) \{ own cert, (.*?) \}$"

Event = collections.namedtuple("Event", "kind data")

# Lines between the dialogue's that are events, too.
REMARKS = {"# [TLS handshake ok": "tls", "# [client closes": "close", "# [connection reset": "close", "# [server closed": "end",
           "# [SIGTERM to the master": "stop"}


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


def assignments(text):
    return {name: unescape(quoted).decode() if quoted else plain.rstrip(",;")
            for name, quoted, plain in re.findall(r'(\w+)=(?:"((?:\\.|[^"\\])*)"|(\S+))', text) if name in SETTINGS}


class Transcript:
    def __init__(self, path):
        self.name, self.events, self.logs, self.asked, self.answers = path.name, [], [], [], {}
        self.protocol = path.name.partition("-")[0]
        self.config = self.server = ""
        for line in path.read_text().splitlines():
            line = re.sub(r"^\s*\d+\.\d{3} ", "", line)
            body = line[3:]
            remark = next((kind for start, kind in REMARKS.items() if line.startswith(start)), None)
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
            elif remark:
                self.events.append(Event(remark, line))

    @property
    def program(self):
        return self.protocol + "-login"

    @property
    def service(self):
        return SERVICES.get(self.protocol, self.protocol)

    @property
    def source(self):
        return re.search(r"client source ([\d.]+)", self.server).group(1)

    @property
    def listener(self):
        return re.search(r'listener "([\w-]+)"', self.server).group(1)

    def settings(self):
        protocols = "imap" if self.service == "imap" else "imap " + self.service
        out = {"protocols": protocols, "managesieve_implementation_string": "Dovecot (Debian) Pigeonhole",
               "hostname": "mail.example.test", "login_greeting": "Dovecot (Debian) ready.", "auth_verbose": "no"}
        out |= assignments(re.sub(LOCAL_NAME, "", self.config))
        if "longer login_log_format_elements" in self.config:
            out |= {"login_log_format": "%$ | %s", "login_log_format_elements": LONG_ELEMENTS}
        return out

    def local_name(self):
        """The name with settings of its own, and those; (None, {}) if there is none."""
        found = re.search(LOCAL_NAME, self.config)
        return (found.group(1), assignments(found.group(2))) if found else (None, {})

    def mechanisms(self):
        if "scripted auth server" in self.config:
            return ["PLAIN", "CRAM-MD5", "ANONYMOUS"] + (["APOP"] if self.protocol == "pop3" else [])
        found = re.search(r'auth_mechanisms=(?:"([^"]*)"|([\w-]+))', self.config)
        return ((found.group(1) or found.group(2)) if found else "plain").upper().split()

    def crashed(self):
        """Dovecot did; we go on."""
        return any("killed with signal" in line for line in self.logs)

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


def outcomes(protocol):
    """What auth or the proxy said where a recording does not show it: (file, number of the login) -> (outcome, text, host)."""
    rows = [line.split("\t") for line in (TRANSCRIPTS / f"{protocol}-outcomes.tsv").read_text().splitlines()
            if line and not line.startswith("#")]
    return {(row[0], int(row[1])): (row + [""] * 3)[2:5] for row in rows}


class Differences:
    """differences.txt. A row that helped is remembered in `used`."""

    def __init__(self):
        self.rows = [tuple(line.split("\t")) for line in (TRANSCRIPTS / "differences.txt").read_text().splitlines()
                     if line and not line.startswith("#")]
        self.used = set()

    def of(self, name):
        return [(row, row[1].split("\\n"), [] if row[2] == "(nothing)" else row[2].split("\\n"))
                for row in self.rows if fnmatch.fnmatchcase(name, row[0])]

    def match(self, name, lines):
        """The first row for the start of `lines`: how many it replaces, and with what; (1, None) if there is none."""
        for row, theirs, ours in self.of(name):
            here = lines[:len(theirs)]
            if len(here) == len(theirs) and all(line == want or want.endswith("*") and line.startswith(want[:-1])
                                                for line, want in zip(here, theirs)):
                self.used.add(row)
                return len(theirs), ours
        return 1, None

    def apply(self, name, groups, kind="server"):
        """Groups of events with what is said here (to the client, or "to_backend"). Of a row with as many lines as it replaces each stays in
        its place, of another all stand in the first."""
        out = [event if event.kind != kind else Event(kind, []) for event in groups]
        start = "S: " if kind == "server" else "P: "
        lines = [(i, start + line) for i, event in enumerate(groups) if event.kind == kind for line in event.data]
        while lines:
            count, ours = self.match(name, [line for _, line in lines])
            ours = [lines[0][1]] if ours is None else ours
            for i, line in enumerate(ours):
                out[lines[i if len(ours) == count else 0][0]].data.append(line[3:])
            lines = lines[count:]
        return out

    def at_end(self, name, start="S: ", word="(end)"):
        found = [(row, ours) for row, theirs, ours in self.of(name) if theirs == [word] and ours[0].startswith(start)]
        self.used |= {row for row, _ in found}
        return [line[len(start):] for _, ours in found for line in ours]

    def lines(self, name, lines):
        """Lines of one side with what is said here in their place."""
        out = []
        while lines:
            count, ours = self.match(name, lines)
            out += lines[:1] if ours is None else ours
            lines = lines[count:]
        return out

    def answer(self, name):
        """What the client of a proxy's recording hears where Dovecot's process died."""
        return self.at_end(name, word="(answer)")

    def rest(self, name):
        """The line to the client behind which the recording of a proxy goes another way and is not played; None if there is none."""
        return (self.at_end(name, word="(rest)") or [None])[0]

    def connections(self, name):
        """How many connections to the backend are made at most; None for as many as are recorded."""
        found = [row for row, theirs, _ in self.of(name) if theirs == ["(connections)"]]
        self.used |= set(found)
        return int(found[0][2]) if found else None

    def log(self, name, lines):
        """Log lines as they are written here: whole ones, or messages without elements where a row has them."""
        out, lines = [], list(lines)
        while lines:
            count, ours = self.match(name, ["LOG: " + message(line) for line in lines])
            out += [lines[0]] if ours is None else [line[5:] for line in ours]
            lines = lines[count:]
        return out

    def left_out(self, name):
        """Why the recording is not played to whole processes; None if it is."""
        for row, theirs, _ in self.of(name):
            if theirs == ["(not over the wire)"]:
                self.used.add(row)
                return row[3]
        return None

    def stale_of_proxy(self, name):
        """Rows for this recording of a proxy that did not help when it was played; some are for the dialogue alone."""
        alone = ("STATE: ", "(log)", "(end)", "(not over the wire)") + (("S: ",) if self.answer(name) else ())
        return [row for row in self.rows if row[0] == name and row not in self.used and not row[1].startswith(alone)]

    def stale(self, recorded):
        """Rows for this recording alone that did not help when it was played to its end."""
        silent = next((event.kind for event in recorded.events if event.kind in ("close", "end")), "close") == "close"  # nobody waited for what stands behind its end
        return [row for row in self.rows if row[0] == recorded.name and row not in self.used and not (silent and row[1] == "(end)")]


def masked(line):
    line = re.sub(r"session=<[^>]*>", "session=<S>", line)
    line = re.sub(r"\b(in|waited|after) \d+ secs", r"\1 N secs", line)
    line = re.sub(r"\b(lport|rport|pid|id)=\d+", r"\1=N", line)
    line = re.sub(r"conn unix:\S*?(?=:? )", "conn unix:PATH", line)
    line = re.sub(r"local=127\.0\.0\.1:\d+", "local=127.0.0.1:N", line)
    return re.sub(r"\[[\w.-]+:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]", "[HOST:TIME]", line)


def message(line):
    """A log line without its program, its usual level, and its elements."""
    return re.split(r": user=| \| user=", re.sub(r"^[\w-]+: (Info: )?", "", line))[0]
