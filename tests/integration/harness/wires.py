"""SASL over each protocol: one class a protocol, all of one shape, so that a test of authentication is a test of all.

A further protocol is one class here and its name in WIRES."""
import base64
import re

from .imap import Imap
from .pop3 import Pop3
from .sieve import Sieve
from .smtp import Smtp


def decoded(text):
    return base64.b64decode(text) if text else b""


def encoded(data):
    return base64.b64encode(data).decode()


def words(initial, raw):
    """The initial response, if there is one: bytes, or the very text."""
    return [raw] if raw is not None else [] if initial is None else [encoded(initial) or "="]


class Wire:
    """A connection to a Postern; `reply` is the last line it said about an authentication."""
    service = ""       # as auth is told
    protocol = ""      # in the setting `protocols`
    program = ""       # whose log lines tell of it
    good = r""         # what a login that succeeded is answered with
    start = r""        # before the challenge
    cancelled = r""    # the answer to "*"
    refused = {}       # replies to what Dovecot's auth fails for
    quit = b""         # ends the connection
    unfinished = ""    # what the log says of a command under way, before its remark

    def authenticate(self, mechanism, steps, initial=True):
        """Runs a mechanism of harness/sasl.py to its end; the reply."""
        response = next(steps)
        if response is not None and initial:
            self.begin(mechanism, response)
        else:
            self.begin(mechanism)
            if response is not None:
                assert self.challenge() == b""
                self.respond(response)
        while (challenge := self.challenge()) is not None:
            try:
                self.respond(steps.send(challenge))
            except StopIteration:
                self.respond(b"")
        return self.reply

    def challenge(self):
        """The server's next challenge; None if it said how the authentication ended instead."""
        line = self.line_of_dialogue()
        if line.startswith(self.start):
            return decoded(line[len(self.start):])
        self.reply = line
        return None

    def respond(self, data):
        self.respond_raw(encoded(data))

    def respond_raw(self, text):
        """A response whose text need not be base64."""
        self.client.send(text + "\r\n")

    def cancel(self):
        self.respond_raw("*")

    def line_of_dialogue(self):
        return self.client.line()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()


class ImapWire(Wire):
    service, protocol, program, start, quit = "imap", "imap", "imap-login", "+ ", b"z LOGOUT\r\n"
    good, cancelled = r"\w+ OK .*Logged in", r"\w+ BAD Authentication aborted by client\."
    refused = {
        "wrong": r"\w+ NO \[AUTHENTICATIONFAILED\] Authentication failed\.",
        "temporary": r"\w+ NO \[UNAVAILABLE\] Temporary authentication failure\. \[[^\]]+\]",
        "authz": r"\w+ NO \[AUTHORIZATIONFAILED\] Authorization failed",
    }

    def __init__(self, postern, context=None, source=None):
        self.client = Imap(postern.tls_port if context else postern.port, context, source=source)
        self._count, self.reply = 0, ""
        self.greeting = self.client.greeting

    def offered(self):
        return re.findall(r"AUTH=(\S+?)\]?(?=\s|$)", self.greeting)

    def begin(self, mechanism, initial=None, raw=None):
        self._count += 1
        self.client.send(" ".join([f"m{self._count} AUTHENTICATE", mechanism, *words(initial, raw)]) + "\r\n")

    def line_of_dialogue(self):
        while (line := self.client.line()).startswith("* ") and not line.startswith("* BYE"):
            pass
        return line

    @staticmethod
    def farewell(text):
        """How it closes, as a regular expression."""
        return rf"\* BYE {re.escape(text)}"

    @staticmethod
    def backend_port(backend):
        return backend.port

    def works(self):
        """Whether the mailbox is there."""
        return any("INBOX" in line for line in self.client.command('LIST "" INBOX'))


class Pop3Wire(Wire):
    service, protocol, program, start, quit = "pop3", "pop3", "pop3-login", "+ ", b"QUIT\r\n"
    good, cancelled = r"\+OK Logged in\.", r"-ERR Authentication aborted by client\."
    refused = {
        "wrong": r"-ERR \[AUTH\] Authentication failed\.",
        "temporary": r"-ERR \[SYS/TEMP\] Temporary authentication failure\. \[[^\]]+\]",
        "authz": r"-ERR \[AUTH\] Authorization failed",
    }

    def __init__(self, postern, context=None, source=None):
        self.client = Pop3(postern.pop3s_port if context else postern.pop3_port, context, source=source)
        self.reply = ""
        self.greeting = self.client.greeting

    def offered(self):
        return self.client.listing("AUTH")

    def begin(self, mechanism, initial=None, raw=None):
        self.client.send(" ".join(["AUTH", mechanism, *words(initial, raw)]) + "\r\n")

    @staticmethod
    def farewell(text):
        return rf"-ERR {re.escape(text)}"

    @staticmethod
    def backend_port(backend):
        return backend.pop3_port

    def works(self):
        return self.client.command("STAT").startswith("+OK 0 ")


class SubmissionWire(Wire):
    service, protocol, program, start, quit = "submission", "submission", "submission-login", "334 ", b"QUIT\r\n"
    unfinished = r"\(unfinished AUTH command\) "
    good, cancelled = r"235 2\.7\.0 Logged in\.", r"501 5\.5\.2 Authentication aborted by client\."
    refused = {
        "wrong": r"535 5\.7\.8 Authentication failed\.",
        "temporary": r"454 4\.7\.0 Temporary authentication failure\. \[[^\]]+\]",
        "authz": r"535 5\.7\.8 Authorization failed",
    }

    def __init__(self, postern, context=None, source=None):
        self.client = Smtp(postern.submissions_port if context else postern.submission_port, context, source=source)
        self.reply, self.greeting = "", self.client.greeting

    def offered(self):
        return next(line for line in self.client.ehlo() if line.startswith("AUTH ")).split()[1:]

    def begin(self, mechanism, initial=None, raw=None):
        self.client.send(" ".join(["AUTH", mechanism, *words(initial, raw)]) + "\r\n")

    def line_of_dialogue(self):
        return self.client.reply()[-1]

    @staticmethod
    def farewell(text):
        return rf"421 4\.\d\.\d \S+ {re.escape(text)}"

    @staticmethod
    def backend_port(backend):
        return backend.submission_port

    def works(self):
        return self.client.command("MAIL FROM:<a@example.com>").startswith("250 ")


class SieveWire(Wire):
    service, protocol, program, start, quit = "sieve", "sieve", "managesieve-login", '"', b"LOGOUT\r\n"
    good, cancelled = r'OK "Logged in\."', r'NO "Authentication aborted by client\."'
    refused = {
        "wrong": r'NO "Authentication failed\."',
        "temporary": r'NO \(TRYLATER\) "Temporary authentication failure\. \[[^\]]+\]"',
        "authz": r'NO "Authorization failed"',
    }

    def __init__(self, postern, context=None, source=None):
        self.client = Sieve(postern.sieves_port if context else postern.sieve_port, context, source=source)
        self.reply, self.greeting = "", self.client.greeting

    def offered(self):
        return next(line for line in self.greeting if line.startswith('"SASL"')).split('"')[3].split()

    def begin(self, mechanism, initial=None, raw=None):
        first = raw if raw is not None else None if initial is None else encoded(initial)
        self.client.send(f'AUTHENTICATE "{mechanism}"' + ("" if first is None else f' "{first}"') + "\r\n")

    def challenge(self):
        line = self.line_of_dialogue()
        if line.startswith(self.start):
            return decoded(line.strip('"'))
        self.reply = line
        return None

    def respond_raw(self, text):
        self.client.send(f'"{text}"\r\n')

    @staticmethod
    def farewell(text):
        return rf'BYE "{re.escape(text)}"'

    @staticmethod
    def backend_port(backend):
        return backend.sieve_port

    def works(self):
        return self.client.command("LISTSCRIPTS").startswith("OK")


WIRES = {wire.service: wire for wire in (ImapWire, Pop3Wire, SubmissionWire, SieveWire)}
PROTOCOLS = " ".join(wire.protocol for wire in WIRES.values())
