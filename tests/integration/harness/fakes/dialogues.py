"""Logins as a good backend sees them, step by step, so that a test can break one anywhere.

The states are those that Dovecot's page on login process proxying lists, as Postern's log has to name them."""
import dataclasses

IMAP_GREETING = b"* OK [CAPABILITY IMAP4rev1 SASL-IR ID STARTTLS] hi\r\n"
USERNAME, PASSWORD = b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6"


@dataclasses.dataclass(frozen=True)
class Step:
    state: str      # of Postern, until it has heard all that is said here
    say: bytes
    hear: tuple = ()   # what the lines begin with that are heard then
    tls: bool = False  # begins behind it
    handshake: str = ""  # the state until TLS is up


@dataclasses.dataclass(frozen=True)
class Dialogue:
    protocol: str  # as in harness/wires.py
    name: str
    steps: tuple
    fields: dict = dataclasses.field(default_factory=dict)  # of the passdb

    @property
    def size(self):
        """Bytes that are said, TLS's own not counted."""
        return sum(len(step.say) for step in self.steps)

    def ends(self):
        """Every place where play() can end before the login has succeeded, with Postern's state there: (said, shakes_hands, state)."""
        said, places = 0, []
        for before, step in zip((None, *self.steps), self.steps):
            if before and before.tls:
                places.append((said, False, before.handshake))
            places += [(said + i, True, step.state) for i in range(len(step.say))]
            said += len(step.say)
        return places

    def __str__(self):
        return f"{self.protocol}-{self.name}"


def _ehlo(*words):
    return b"".join(b"250-" + word + b"\r\n" for word in (b"x", *words[:-1])) + b"250 " + words[-1] + b"\r\n"


_TLS, _LOGIN = {"starttls": "any-cert"}, {"proxy_mech": "LOGIN"}
_IMAP_ID, _IMAP_IN = b"* ID NIL\r\nI OK id\r\n", b"L OK [CAPABILITY IMAP4rev1] in\r\n"
_SIEVE = b'"XCLIENT" "ADDR"\r\n"SASL" "PLAIN LOGIN"\r\n'

DIALOGUES = (
    Dialogue("imap", "login", (
        Step("/none", IMAP_GREETING, (b"I ID ", b"L LOGIN ")),
        Step("id+login/banner", _IMAP_ID),
        Step("login/id", _IMAP_IN))),
    Dialogue("imap", "nopipelining", (
        Step("/none", IMAP_GREETING, (b"I ID ",)),
        Step("id/banner", _IMAP_ID, (b"L LOGIN ",)),
        Step("login/id", _IMAP_IN)), {"proxy_nopipelining": "y"}),
    Dialogue("imap", "no-list", (  # it has to be asked what it can do before a password goes out in clear
        Step("/none", b"* OK hi\r\n", (b"C CAPABILITY",)),
        Step("capability/banner", b"* CAPABILITY IMAP4rev1\r\nC OK\r\n", (b"L LOGIN ",)),
        Step("login/capability", b"L OK in\r\n"))),
    Dialogue("imap", "sasl", (
        Step("/none", IMAP_GREETING, (b"I ID ", b"L AUTHENTICATE LOGIN")),
        Step("id+authenticate/banner", _IMAP_ID),
        Step("authenticate/id", b"+ " + USERNAME + b"\r\n", (b"",)),
        Step("auth-continue/auth-continue", b"+ " + PASSWORD + b"\r\n", (b"",)),
        Step("auth-continue/auth-continue", _IMAP_IN)), _LOGIN),
    Dialogue("imap", "starttls", (
        Step("/none", IMAP_GREETING, (b"S STARTTLS",)),
        Step("starttls/banner", b"S OK begin\r\n", (b"I ID ", b"C CAPABILITY", b"L LOGIN "), True, "login/starttls"),
        Step("id+capability+login/starttls", _IMAP_ID),
        Step("capability+login/id", b"* CAPABILITY IMAP4rev1\r\nC OK\r\n"),
        Step("login/capability", _IMAP_IN)), _TLS),
    Dialogue("pop3", "login", (
        Step("banner", b"+OK [XCLIENT] hi\r\n", (b"XCLIENT ADDR=", b"USER ")),
        Step("xclient", b"+OK told\r\n"),
        Step("login1", b"+OK user\r\n", (b"PASS ",)),
        Step("login2", b"+OK in\r\n"))),
    Dialogue("pop3", "sasl", (
        Step("banner", b"+OK hi\r\n", (b"AUTH LOGIN",)),
        Step("login2", b"+ " + USERNAME + b"\r\n", (b"",)),
        Step("login2", b"+ " + PASSWORD + b"\r\n", (b"",)),
        Step("login2", b"+OK in\r\n")), _LOGIN),
    Dialogue("pop3", "starttls", (
        Step("banner", b"+OK hi\r\n", (b"STLS",)),
        Step("starttls", b"+OK begin\r\n", (b"CAPA",), True, "starttls"),
        Step("starttls", b"+OK\r\nTOP\r\nXCLIENT\r\n.\r\n", (b"XCLIENT ADDR=", b"USER ")),
        Step("xclient", b"+OK told\r\n"),
        Step("login1", b"+OK user\r\n", (b"PASS ",)),
        Step("login2", b"+OK in\r\n")), _TLS),
    Dialogue("submission", "login", (
        Step("banner", b"220 hi\r\n", (b"EHLO ",)),
        Step("ehlo", _ehlo(b"AUTH PLAIN", b"XCLIENT ADDR PORT"), (b"XCLIENT ",)),
        Step("xclient", b"220 told\r\n", (b"EHLO ",)),
        Step("xclient-ehlo", _ehlo(b"AUTH PLAIN"), (b"AUTH PLAIN ",)),
        Step("authenticate", b"235 2.7.0 in\r\n"))),
    Dialogue("submission", "sasl", (
        Step("banner", b"220-hi\r\n220 there\r\n", (b"EHLO ",)),
        Step("ehlo", _ehlo(b"AUTH PLAIN LOGIN"), (b"AUTH LOGIN",)),
        Step("authenticate", b"334 " + USERNAME + b"\r\n", (b"",)),
        Step("authenticate", b"334 " + PASSWORD + b"\r\n", (b"",)),
        Step("authenticate", b"235-2.7.0 you are\r\n235 2.7.0 in\r\n")), _LOGIN),
    Dialogue("submission", "starttls", (
        Step("banner", b"220 hi\r\n", (b"EHLO ",)),
        Step("ehlo", _ehlo(b"STARTTLS"), (b"STARTTLS",)),
        Step("starttls", b"220 begin\r\n", (b"EHLO ",), True, "starttls"),
        Step("tls-ehlo", _ehlo(b"AUTH PLAIN"), (b"AUTH PLAIN ",)),
        Step("authenticate", b"235 2.7.0 in\r\n")), _TLS),
    Dialogue("sieve", "login", (
        Step("none", _SIEVE + b"OK\r\n", (b"XCLIENT ADDR=",)),
        Step("xclient", b"OK told\r\n", (b'AUTHENTICATE "PLAIN" ',)),
        Step("auth", b'OK "in"\r\n'))),
    Dialogue("sieve", "sasl", (
        Step("none", b'"SASL" "LOGIN"\r\nOK\r\n', (b'AUTHENTICATE "LOGIN"',)),
        Step("auth", b'"' + USERNAME + b'"\r\n', (b'"',)),
        Step("auth", b"{12}\r\n" + PASSWORD + b"\r\n", (b'"',)),
        Step("auth", b'OK "in"\r\n')), _LOGIN),
    Dialogue("sieve", "starttls", (
        Step("none", b'"STARTTLS"\r\nOK\r\n', (b"STARTTLS",)),
        Step("tls-start", b"OK begin\r\n", (), True, "tls-ready"),
        Step("tls-ready", _SIEVE + b"OK\r\n", (b"XCLIENT ADDR=",)),
        Step("xclient", b"OK\r\n", (b'AUTHENTICATE "PLAIN" ',)),
        Step("auth", b'OK "in"\r\n')), _TLS),
)


def play(talk, dialogue, context, said=None, shakes_hands=True):
    """Plays the backend up to so many bytes; all, and on until the other side leaves, if None.

    If TLS begins where it is to end, `shakes_hands` tells on which side of that."""
    left = dialogue.size + 1 if said is None else said
    for step in dialogue.steps:
        talk.send(step.say[:left])
        if left < len(step.say):
            return
        left -= len(step.say)
        if step.tls:
            if left == 0 and not shakes_hands:
                return
            talk.starttls(context)
        for start in step.hear:
            line = talk.line()
            assert line.startswith(start), (line, start)
        if left == 0:
            return
    while True:
        talk.line()
