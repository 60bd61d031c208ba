"""Debian's fail2ban filter for Dovecot, run over what Postern logs, and our own. A kind of failure has a client address of its
own, so that what a filter finds says which kinds it knows."""
import collections
import re
import subprocess

import pytest

from harness import sasl
from harness.postern import ROOT, installed
from harness.procs import wait_for
from harness.scripted_auth import ScriptedAuth
from harness.wires import PROTOCOLS, WIRES, decoded

DEBIANS = "/etc/fail2ban/filter.d/dovecot.conf"
OURS = ROOT / "data/fail2ban/postern.conf"

# What auth says to a user of that name.
ANSWERS = {
    "wrong": "FAIL\t{}\tuser=wrong", "authz": "FAIL\t{}\tuser=authz\tcode=authz_fail", "temp": "FAIL\t{}\tuser=temp\tcode=temp_fail",
    "disabled": "FAIL\t{}\tuser=disabled\tcode=user_disabled", "expired": "FAIL\t{}\tuser=expired\tcode=pass_expired",
    "nologin": "OK\t{}\tuser=nologin\tnologin", "no-host": "OK\t{}\tuser=no-host\tproxy\tpass=x",
    "refused": "OK\t{}\tuser=refused\tproxy\thost=127.0.0.1\tport=PORT\tpass=not-the-backends",
}
# kind: (last byte of the address, how the end is logged)
KINDS = {
    "wrong": (11, "(auth failed, 1 attempts in N secs)"),
    "thrice": (12, "(auth failed, 3 attempts in N secs)"),
    "refused": (13, "(proxy dest auth failed)"),
    "plaintext": (14, "(tried to use disallowed plaintext auth)"),
    "disabled": (21, "(user disabled)"),
    "expired": (22, "(password expired)"),
    "authz": (23, "(authorization failed, 1 attempts in N secs)"),
    "temp": (24, "(auth service reported temporary failure)"),
    "base64": (25, "(sent invalid base64 in response)"),
    "mechanism": (26, "(tried to use unsupported auth mechanism)"),
    "nologin": (27, "(internal failure, 1 successful auths)"),
    "no-host": (28, "(internal failure, 1 successful auths)"),
    "nothing": (31, "(no auth attempts in N secs)"),
    "unfinished": (32, "(client didn't finish SASL auth, waited N secs)"),
}
NORMAL = ("wrong", "thrice", "refused", "plaintext")
AGGRESSIVE = (*NORMAL, "nothing", "unfinished")


def address(kind):
    return f"127.0.1.{KINDS[kind][0]}"


def fail(wire, postern, kind):
    """Behaves as one kind of client."""
    with wire(postern, source=(address(kind), 0)) as connection:
        if kind == "nothing":
            return
        if kind == "unfinished":
            connection.begin("PLAIN")
            assert connection.challenge() == b""
        elif kind == "base64":
            connection.begin("PLAIN", raw="AHNsb3cAeA")
            assert connection.challenge() is None
        elif kind == "mechanism":
            connection.begin("NTLM")
            assert connection.challenge() is None
        else:
            name = {"thrice": "wrong", "plaintext": "wrong"}.get(kind, kind)
            for _ in range(3 if kind == "thrice" else 1):
                connection.authenticate("PLAIN", sasl.client("PLAIN", name, "pw-of-" + name))


def found_by(log, *filter):
    """How many lines of each address a filter matches."""
    done = subprocess.run(["fail2ban-regex", "-o", "ip", str(log), *map(str, filter)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return collections.Counter(done.stdout.split())


def as_syslog(text, name):
    """Lines of a log file as a syslog daemon writes them: with host and program, without the level (log/output.cc)."""
    return re.sub(r"^(.{15}) ([\w-]+: )(?:Info|Warning|Error): ", rf"\1 gate {name}: \2", text, flags=re.M)


@pytest.fixture
def logged(postern, backend):
    """A log with every kind of failure once for each protocol, and a login that succeeds."""
    def answer(fields):
        if not fields[-1].startswith("resp="):
            return f"CONT\t{fields[1]}\t"
        name = decoded(fields[-1].removeprefix("resp=")).split(b"\0")[1].decode()
        said = ANSWERS[name].format(fields[1])
        service = next(f for f in fields if f.startswith("service=")).removeprefix("service=")
        return said.replace("PORT", str(WIRES[service].backend_port(backend)))
    postern.scripted = ScriptedAuth(postern.directory / "auth.sock", ["PLAIN"], answer)
    postern.passdbs = {}
    postern.settings |= {"protocols": PROTOCOLS, "auth_socket_path": str(postern.directory / "auth.sock"),
                         "disable_plaintext_auth": "no"}
    postern.extra += f"\n[remote {address('plaintext')}]\ndisable_plaintext_auth = yes\n"
    postern.start()
    for service, wire in WIRES.items():
        for kind in KINDS:
            fail(wire, postern, kind)
        for kind, (_, remark) in KINDS.items():
            pattern = re.escape(remark).replace("N\\ secs", "\\d+\\ secs")
            postern.wait_log(rf"{wire.program}: Info: Disconnected: Connection closed (?:{wire.unfinished})?{pattern}: .*rip={re.escape(address(kind))}, ")
    yield postern
    postern.scripted.close()


@pytest.mark.skipif(not installed("fail2ban-regex"), reason="no fail2ban")
def test_filters_find_who_guesses_and_nobody_else(logged):
    text = logged.log_text()
    file, syslog, own = (logged.directory / name for name in ("file", "syslog", "own"))
    file.write_text(text)
    syslog.write_text(as_syslog(text, "dovecot"))
    own.write_text(as_syslog(text, "postern"))
    lines = len(WIRES)
    harness = {"127.0.0.1": lines}  # looked at the greetings
    normal = {address(kind): lines for kind in NORMAL}
    aggressive = harness | {address(kind): lines for kind in AGGRESSIVE}
    # What submission says of a command under way, Debian's filter does not know.
    aggressive[address("unfinished")] -= sum(1 for wire in WIRES.values() if wire.unfinished)
    # Ours finds in auth's lines who guesses a password, and auth is scripted here.
    elsewhere = {address(kind): lines for kind in ("refused", "plaintext")}
    for log in (file, syslog, own):
        assert found_by(log, OURS) == elsewhere, log
    for log in (file, syslog):
        assert found_by(log, DEBIANS) == normal, log
        assert found_by(log, f"{DEBIANS}[mode=aggressive]") == aggressive, log
    assert crowdsec(syslog.read_text()) == {address(kind): lines for kind in ("wrong", "thrice", "refused")}


def crowdsec(text):
    """What CrowdSec makes of Dovecot's lines: it wants the program's name, a login process's message, user and both addresses."""
    line = re.compile(r" dovecot: \w+-login: (?P<message>.*?): user=<[^>]*>.*, rip=(?P<rip>[\d.]+), lip=[\d.]+")
    return collections.Counter(found["rip"] for found in map(line.search, text.splitlines()) if found and "auth failed" in found["message"])


@pytest.mark.skipif(not installed("fail2ban-regex"), reason="no fail2ban")
class TestEachAttemptAtOnce:
    """auth's own line, while the client is still there."""

    @pytest.fixture
    def clients(self, postern, user):
        """Runs a session of a wrong password and an unknown name, and what it logged before it ended."""
        def run(**settings):
            name, _ = user()
            postern.settings |= settings
            postern.start()
            with WIRES["imap"](postern, source=(address("wrong"), 0)) as connection:
                for who in (name, "nobody-here"):
                    connection.authenticate("PLAIN", sasl.client("PLAIN", who, "wrong-1"))
                if settings.get("auth_log_failures") != "no":
                    wait_for("both lines", lambda: len(self.lines(postern.log_text())) >= 2)
                text = postern.log_text()
                assert "auth failed" not in text
            return name, text
        return run

    def lines(self, text):
        return [line for line in text.splitlines() if " auth: " in line]

    def test_is_the_default(self, postern, clients):
        name, text = clients(auth_verbose="no", disable_plaintext_auth="no", auth_failure_delay="0")
        where = rf",{re.escape(address('wrong'))},<[\w+/]{{16,}}>\): Authentication failed "
        expected = [f"plain\\({name}{where}\\(password mismatch\\)", rf"plain\(nobody-here{where}\(unknown user\)"]
        assert len(self.lines(text)) == 2
        for line, pattern in zip(self.lines(text), expected):
            assert re.search(rf" auth: Info: {pattern}$", line), line
        self.check(postern, text, debians=0)
        # Debian's filter for Dovecot sees the client when it leaves, and counts it once.
        postern.wait_log(r"Disconnected: Connection closed \(auth failed, 2 attempts in \d+ secs\)")
        (postern.directory / "file").write_text(postern.log_text())
        assert found_by(postern.directory / "file", DEBIANS) == {address("wrong"): 1}
        assert found_by(postern.directory / "file", OURS) == {address("wrong"): 2}

    def test_is_left_to_auth_verbose_where_that_is_on(self, postern, clients):
        _, text = clients(auth_verbose="yes", disable_plaintext_auth="no", auth_failure_delay="0", auth_verbose_passwords="sha1:6")
        assert len(self.lines(text)) == 2 and "Authentication failed" not in text
        self.check(postern, text, debians=2)

    def test_can_be_switched_off(self, clients):
        _, text = clients(auth_verbose="no", disable_plaintext_auth="no", auth_failure_delay="0", auth_log_failures="no")
        assert self.lines(text) == []

    @pytest.mark.parametrize("verbose", ["no", "yes"])
    def test_tells_of_a_missing_certificate_at_every_door(self, postern, authority, verbose):
        postern.settings |= {"protocols": PROTOCOLS, "auth_ssl_require_client_cert": "yes", "ssl_ca": f"<{authority.cert}", "ssl_require_crl": "no",
                             "disable_plaintext_auth": "no", "auth_failure_delay": "0", "auth_verbose": verbose}
        postern.start()
        for number, wire in enumerate(WIRES.values(), 1):
            with wire(postern, source=(address("wrong"), 0)) as connection:
                connection.authenticate("PLAIN", sasl.client("PLAIN", "somebody", "wrong-1"))
                wait_for("its line", lambda: len(self.lines(postern.log_text())) == number)  # noqa: B023
        (postern.directory / "file").write_text("\n".join(self.lines(postern.log_text())) + "\n")
        assert found_by(postern.directory / "file", OURS) == {address("wrong"): len(WIRES)}

    @staticmethod
    def check(postern, text, debians):
        for name, log in (("file", text), ("syslog", as_syslog(text, "dovecot"))):
            (postern.directory / name).write_text(log)
            assert found_by(postern.directory / name, OURS) == {address("wrong"): 2}, name
            assert found_by(postern.directory / name, DEBIANS) == ({address("wrong"): debians} if debians else {}), name


@pytest.mark.skipif(not installed("fail2ban-regex"), reason="no fail2ban")
def test_a_name_cannot_pass_for_an_address(postern):
    postern.settings |= {"auth_username_chars": "", "auth_verbose": "no", "disable_plaintext_auth": "no", "auth_failure_delay": "0"}
    postern.start()
    names = ("a,9.9.9.9", "a,9.9.9.9,<x>): Authentication failed (password mismatch)", "a>, method=PLAIN, rip=9.9.9.9, ", "a(b,9.9.9.9")
    for number, name in enumerate(names):
        with WIRES["imap"](postern, source=(f"127.0.1.{number + 1}", 0)) as connection:  # each without the others' penalty
            connection.authenticate("PLAIN", sasl.client("PLAIN", name, "wrong-1"))
    wait_for("all of them", lambda: postern.log_text().count("auth failed, 1 attempts") == len(names))
    (postern.directory / "file").write_text(postern.log_text())
    assert found_by(postern.directory / "file", OURS) == {f"127.0.1.{number + 1}": 1 for number in range(len(names))}
