"""A real Postfix as submission backend: it is told by XCLIENT who the client is, and its quirks are heeded."""
import os
import re
import socket

import pytest

from harness.postfix import Postfix
from harness.smtp import Smtp

pytestmark = pytest.mark.skipif(bool(Postfix.why_not()), reason=Postfix.why_not())

SOURCE = ("127.0.0.9", 0)


@pytest.fixture(scope="module")
def postfix(session_directory, authority, backend):
    """Asks the Dovecot backend for passwords."""
    server = Postfix(session_directory / "postfix", authority.issue("postfix", ["127.0.0.1"]), backend)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def gate(postern):
    postern.settings |= {"protocols": "imap submission", "hostname": "gate.example", "disable_plaintext_auth": "no", "listen": "127.0.0.1 ::1"}
    return postern


def letter(subject):
    return f"From: <joe@example.com>\nTo: <ann@example.com>\nSubject: {subject}\n\nhello\n"


def submit(client, name, password):
    """Logs in and sends a letter; the id that Postfix gave it."""
    client.ehlo("laptop.example")
    answer = client.login(name, password)
    assert answer.startswith("235 2.7.0 "), answer
    answer = client.mail("joe@example.com", "ann@example.com", letter("through Postern"))
    assert answer.startswith("250 2.0.0 Ok: queued as "), answer
    return answer.rpartition(" ")[2]


def logged(postfix, ident):
    """Who sent a letter, and what became of it, by Postfix's log."""
    sender = postfix.wait_log(re.compile(rf"smtpd\[\d+\]: {ident}: client=\S+\[(?P<ip>[^\]]+)\](?::\d+)?, (?P<rest>.*)"))
    postfix.wait_log(re.compile(rf"{ident}: to=<ann@example.com>, relay=none, .*status=sent \(example.com\)"))
    return sender


@pytest.mark.parametrize("security", ["plain", "starttls", "ssl"])
def test_it_logs_the_clients_own_address(gate, postfix, user, security):
    name, password = user(**{"port": postfix.tls_port if security == "ssl" else postfix.port, **({security: "any-cert"} if security != "plain" else {})})
    gate.start()
    with Smtp(gate.submission_port, source=SOURCE) as client:
        found = logged(postfix, submit(client, name, password))
    assert found["ip"] == "127.0.0.9" and found["rest"] == f"sasl_method=PLAIN, sasl_username={name}"
    gate.wait_log(rf"submission-login: Info: proxy\({name},127\.0\.0\.1:\d+\): Started proxying to .*rip=127\.0\.0\.9,")


def test_it_takes_an_ipv6_client(gate, postfix, user):
    """It refuses the address without its "IPV6:", which Dovecot 2.3 leaves out."""
    name, password = user(port=postfix.port)
    gate.start()

    class Smtp6(Smtp):
        def __init__(self, port):
            self.socket = socket.create_connection(("::1", port), 20)
            self._file = self.socket.makefile("rb")
            self.greeting = self.line()
    with Smtp6(gate.submission_port) as client:
        assert logged(postfix, submit(client, name, password))["ip"] == "::1"


def test_who_may_not_say_xclient_is_known_by_our_address(gate, postfix, user):
    name, password = user(port=postfix.strict_port)
    gate.start()
    with Smtp(gate.submission_port, source=SOURCE) as client:
        assert logged(postfix, submit(client, name, password))["ip"] == "127.0.0.1"


def test_a_refused_password_is_its_answer(gate, postfix, user):
    name, _ = user(port=postfix.port)
    wrong = f"wrong-{os.urandom(6).hex()}"
    gate.add_user(name, wrong, proxy="y", host="127.0.0.1", port=postfix.port)
    gate.start()
    with Smtp(gate.submission_port, source=SOURCE) as client:
        client.ehlo()
        assert client.login(name, wrong).startswith("535 5.7.8 ")
        assert client.command("NOOP").startswith("250 ")  # still ours
    gate.wait_log(rf"proxy\({name},127\.0\.0\.1:\d+\): Login failed: ")
    postfix.wait_log(re.compile(r"warning: \S+\[127\.0\.0\.9\]: SASL PLAIN authentication failed"))


def test_proxy_noauth_says_by_xclient_who_it_is(gate, postfix, user):
    """Postfix then takes the client as logged in, with the name it is told, and asks nobody."""
    name, password = user(port=postfix.port, proxy_noauth="y")
    gate.start()
    with Smtp(gate.submission_port, source=SOURCE) as client:
        found = logged(postfix, submit(client, name, password))
    assert found["ip"] == "127.0.0.9" and f"sasl_username={name}" in found["rest"]
