"""Submission backends that are away or misbehave, and what they are told of the client."""
import re
import time

import pytest

from harness.procs import free_port
from harness.smtp import Smtp, plain

FAILED = "535 5.7.8 Authentication failed."
UNAVAILABLE = "454 4.7.0 Account is temporarily unavailable."
EHLO = b"250-fake\r\n250-AUTH PLAIN LOGIN\r\n250 ENHANCEDSTATUSCODES\r\n"
PASSWORD = "pw-of-u1-3b9d"
LOGIN = f"AUTH PLAIN {plain('u1', PASSWORD, 'u1')}\r\n".encode()


@pytest.fixture
def gate(postern):
    postern.settings |= {"protocols": "imap submission", "hostname": "gate.example"}
    return postern


def send_to(gate, port, **fields):
    gate.add_user("u1", PASSWORD, **{"proxy": "y", "host": "127.0.0.1", "port": port, **fields})
    gate.start()


def login(gate):
    """The answer, and how long it took; the connection is as usable as before."""
    with Smtp(gate.submission_port, timeout=30) as client:
        client.ehlo()
        begun = time.monotonic()
        client.send(f"AUTH PLAIN {plain('u1', PASSWORD)}\r\n")
        reply = client.reply()
        seconds = time.monotonic() - begun
        assert client.command("NOOP") == "250 2.0.0 OK"
        return "\n".join(reply), seconds


def talking(*answers, expect=()):
    """A backend that says each answer in turn, and reads a line (one of `expect`) between two."""
    def talk(talk):
        wanted = iter(expect)
        for answer in answers:
            talk.send(answer)
            line = talk.line()
            want = next(wanted, None)
            assert want is None or line == want, (line, want)
        talk.line()
    return talk


def test_connection_refused_is_tried_four_times(gate):
    port = free_port()
    send_to(gate, port)
    reply, seconds = login(gate)
    assert reply == UNAVAILABLE and 2.5 < seconds < 6
    gate.wait_log(rf"submission-login: Error: proxy\(u1,127\.0\.0\.1:{port}\): connect\(127\.0\.0\.1, {port}\) failed: "
                  r"Connection refused \(after \d+ secs, 3 reconnects")


@pytest.mark.parametrize("state, answers, fields", [
    ("banner", [], {}), ("ehlo", [b"220 x\r\n"], {}),
    ("starttls", [b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n"], {"starttls": "any-cert"}),
    ("xclient", [b"220 x\r\n", b"250-x\r\n250 XCLIENT ADDR\r\n"], {}),
    ("xclient-ehlo", [b"220 x\r\n", b"250-x\r\n250 XCLIENT ADDR\r\n", b"220 x\r\n"], {}),
    ("authenticate", [b"220 x\r\n", EHLO], {})], ids=lambda value: value if isinstance(value, str) else "")
def test_silence_in_every_state_is_named_T_BCK_05(gate, fake_backend, state, answers, fields):
    def talk(talk):
        for answer in answers:
            talk.send(answer)
            talk.line()
        time.sleep(30)
    send_to(gate, fake_backend(talk).port, proxy_timeout="2", **fields)
    reply, seconds = login(gate)
    assert reply == UNAVAILABLE and 1.5 < seconds < 5
    gate.wait_log(rf"proxy\(u1,127.0.0.1:\d+\): Login timed out in state={state} \(after 2 secs")


@pytest.mark.parametrize("greeting", [b"554 busy\r\n", b"* OK imap\r\n", b"+OK pop3\r\n", b"\0\1\2\r\n", b"22\r\n", b"220-a\r\n221 b\r\n"])
def test_a_wrong_banner_T_BCK_03(gate, fake_backend, greeting):
    gate.settings["login_proxy_max_reconnects"] = "0"
    send_to(gate, fake_backend(talking(greeting)).port, proxy_timeout="2")
    assert login(gate)[0] == UNAVAILABLE
    gate.wait_log(r"Remote server sent invalid input: (Invalid banner: |Inconsistent SMTP reply: 221 b \(status != 220\))")


@pytest.mark.parametrize("answer, reply", [
    (b"535 5.7.8 wrong, says the backend\r\n", "535 5.7.8 wrong, says the backend"),
    (b"535 no such user u1\r\n", FAILED),
    (b"534 5.7.9 a stronger mechanism\r\n", "534 5.7.9 a stronger mechanism"),
    (b"535-5.7.8 no\r\n535 5.7.8 really no\r\n", "535-5.7.8 no\n535 5.7.8 really no"),
    (b"454 4.7.0 try later\r\n", "454 4.7.0 try later"),
    (b"hello world\r\n", UNAVAILABLE), (b"25\r\n", UNAVAILABLE), (b"334 \r\n", UNAVAILABLE), (b"354 go on\r\n", UNAVAILABLE)],
    ids=["text", "no-code", "other", "lines", "later", "garbage", "short", "challenge", "354"])
def test_refusals_of_the_backend(gate, fake_backend, answer, reply):
    """The garbage ends Dovecot's process, with everybody in it."""
    gate.settings["login_proxy_max_reconnects"] = "0"
    fake = fake_backend(talking(b"220 fake\r\n", EHLO, answer, expect=(b"EHLO gate.example\r\n", LOGIN)))
    send_to(gate, fake.port)
    with Smtp(gate.submission_port) as bystander:
        assert login(gate)[0] == reply
        assert bystander.command("NOOP") == "250 2.0.0 OK"
    assert fake.received.startswith(b"EHLO gate.example\r\n" + LOGIN)


def test_its_own_words_where_the_operator_wants_them(gate, fake_backend):
    gate.settings["proxy_hide_auth_errors"] = "no"
    send_to(gate, fake_backend(talking(b"220 fake\r\n", EHLO, b"535 no such user u1\r\n")).port)
    assert login(gate)[0] == "535 no such user u1"


def test_a_temporary_failure_is_tried_again(gate, fake_backend):
    def talk(talk):
        answers = [b"220 fake\r\n", EHLO, b"454 4.7.0 later\r\n" if talk.backend.connections < 2 else b"235-2.7.0 you are\r\n235 2.7.0 in\r\n"]
        talking(*answers)(talk)
    send_to(gate, fake_backend(talk).port)
    with Smtp(gate.submission_port) as client:
        client.send(f"AUTH PLAIN {plain('u1', PASSWORD)}\r\n")
        assert client.reply() == ["235-2.7.0 you are", "235 2.7.0 in"]


def test_a_refused_xclient_is_not_tried_again(gate, fake_backend):
    def talk(talk):
        talk.send(b"220 fake\r\n")
        talk.line()
        talk.send(b"250-fake\r\n250-AUTH PLAIN\r\n250 XCLIENT ADDR PORT\r\n")
        assert re.match(rb"XCLIENT PORT=\d+ ADDR=127.0.0.1\r\n", talk.line())
        talk.send(b"550 5.7.0 insufficient authorization\r\n")
        talk.line(), talk.line()
    fake = fake_backend(talk)
    send_to(gate, fake.port)
    reply, seconds = login(gate)
    assert reply == UNAVAILABLE and seconds < 2 and fake.connections == 1
    gate.wait_log(r"Aborting due to remote server: XCLIENT failed: 550 5\.7\.0 insufficient authorization: user=<u1>")


@pytest.mark.parametrize("glued", [False, True])
def test_no_password_without_the_tls_that_was_asked_for_T_TLS_03(gate, fake_backend, glued):
    gate.settings["login_proxy_max_reconnects"] = "0"
    answer = b"220 2.0.0 go\r\n250-fake\r\n250 AUTH PLAIN\r\n" if glued else b"454 4.7.0 no TLS here\r\n"
    fake = fake_backend(talking(b"220 fake\r\n", b"250-fake\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n", answer))
    send_to(gate, fake.port, starttls="any-cert")
    assert login(gate)[0] == UNAVAILABLE
    assert fake.received == b"EHLO gate.example\r\nSTARTTLS\r\n"
    gate.wait_log("Input behind the reply to STARTTLS" if glued else "STARTTLS failed: 454 4.7.0 no TLS here")


@pytest.mark.parametrize("capabilities, why", [
    (b"250-x\r\n250 STARTTLS\r\n", r"Authentication support not advertised \(TLS required\?\)"),
    (b"250-x\r\n250 AUTH CRAM-MD5\r\n", r"PLAIN authentication not advertised \(TLS required\?\)")])
def test_no_password_for_who_does_not_want_it(gate, fake_backend, capabilities, why):
    fake = fake_backend(talking(b"220 fake\r\n", capabilities))
    send_to(gate, fake.port)
    assert login(gate)[0] == UNAVAILABLE
    assert b"AUTH" not in fake.received and fake.connections == 1
    gate.wait_log("Aborting due to remote server: " + why)


def test_an_answer_before_it_was_asked_T_BCK_01(gate, fake_backend):
    gate.settings["login_proxy_max_reconnects"] = "0"
    fake = fake_backend(talking(b"220 fake\r\n" + EHLO + b"235 2.7.0 in\r\n"))
    send_to(gate, fake.port)
    assert login(gate)[0] == UNAVAILABLE
    assert b"AUTH" not in fake.received


def test_a_flood_instead_of_a_banner_T_BCK_02(gate, fake_backend):
    gate.settings["login_proxy_max_reconnects"] = "0"
    send_to(gate, fake_backend(lambda talk: [talk.send(b"x" * 65536) for _ in range(200)]).port)
    assert login(gate)[0] == UNAVAILABLE
    gate.wait_log("Too long input line")


def test_a_postfix_is_told_what_it_asks_for(gate, fake_backend):
    """Its names, and DESTADDR and DESTPORT, which it shares with Dovecot 2.4."""
    lines = []

    def talk(talk):
        caps = (b"250-mx\r\n250-PIPELINING\r\n250-AUTH PLAIN LOGIN\r\n250-ENHANCEDSTATUSCODES\r\n"
                b"250 XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT\r\n")
        talk.send(b"220 mx ESMTP Postfix\r\n")
        talk.line()
        talk.send(caps)
        lines.append(talk.line().decode())
        talk.send(b"220 mx ESMTP Postfix\r\n")
        talk.line()
        talk.send(caps)
        assert talk.line() == LOGIN
        talk.send(b"235 2.7.0 Authentication successful\r\n")
        talk.line()
    send_to(gate, fake_backend(talk).port)
    with Smtp(gate.submission_port) as client:
        client.ehlo("mua.example")
        assert client.login("u1", PASSWORD) == "235 2.7.0 Authentication successful"
    assert re.fullmatch(r"XCLIENT HELO=mua.example PROTO=ESMTP PORT=\d+ ADDR=127.0.0.1 DESTPORT=\d+ DESTADDR=127.0.0.1\r\n", lines[0]), lines


@pytest.mark.parametrize("offered", [True, False])
def test_proxy_noauth_says_who_it_is_in_xclient_or_not_at_all(gate, fake_backend, offered):
    names = b"ADDR LOGIN FORWARD" if offered else b"ADDR"

    def talk(talk):
        talk.send(b"220 mx\r\n")
        talk.line()
        talk.send(b"250-mx\r\n250 XCLIENT " + names + b"\r\n")
        talk.line()
        talk.send(b"220 mx\r\n")
        talk.line()
        talk.send(b"250-mx\r\n250 XCLIENT " + names + b"\r\n")
        assert talk.line() == b"NOOP\r\n"
        talk.send(b"250 2.0.0 from the backend\r\n")
        talk.line()
    fake = fake_backend(talk)
    send_to(gate, fake.port, proxy_noauth="y", forward_color="blue")
    with Smtp(gate.submission_port) as client:
        if not offered:
            assert client.login("u1", PASSWORD) == UNAVAILABLE
            gate.wait_log(r"XCLIENT LOGIN not supported \(proxy_noauth needs it\)")
            return
        assert client.login("u1", PASSWORD) == "235 2.7.0 Logged in."
        assert client.command("NOOP") == "250 2.0.0 from the backend"
    assert b"XCLIENT LOGIN=u1 ADDR=127.0.0.1 FORWARD=Y29sb3I9Ymx1ZQ+3D+3D\r\n" in fake.received
    assert PASSWORD.encode() not in fake.received
