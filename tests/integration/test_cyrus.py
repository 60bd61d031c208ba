"""A real Cyrus as IMAP, POP3 and ManageSieve backend: other words, another order, no ID before it is asked and no XCLIENT."""
import os

import pytest

from harness.cyrus import Cyrus
from harness.imap import Imap
from harness.pop3 import Pop3
from harness.sieve import Sieve

pytestmark = pytest.mark.skipif(bool(Cyrus.why_not()), reason=Cyrus.why_not())


@pytest.fixture(scope="module")
def cyrus(session_directory, authority):
    server = Cyrus(session_directory / "cyrus", authority.issue("cyrus", ["127.0.0.1"]))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def account(postern, cyrus):
    """A function that makes a user of Cyrus: (name, password)."""
    postern.settings |= {"protocols": "imap pop3 sieve", "disable_plaintext_auth": "no"}

    def add(port, password=None, **fields):
        name, password = f"c{os.urandom(5).hex()}", password or f"pw-{os.urandom(8).hex()}"
        cyrus.add_user(fields.get("destuser", name), password)
        postern.add_user(name, password, proxy="y", host="127.0.0.1", port=port, **fields)
        postern.start()
        return name, password
    return add


@pytest.mark.parametrize("fields", [{}, {"proxy_mech": "plain"}, {"proxy_mech": "login"}, {"starttls": "any-cert"}, {"ssl": "any-cert"}],
                         ids=lambda fields: "-".join(fields.values()) or "login")
def test_imap(postern, cyrus, account, fields):
    name, password = account(cyrus.tls_port if "ssl" in fields else cyrus.port, **fields)
    with Imap(postern.port) as client:
        assert client.login(name, password).startswith("OK ")
        assert any("INBOX" in line for line in client.command('LIST "" INBOX'))
        assert " OK " in client.command("SELECT INBOX")[-1]
        client.send("a APPEND INBOX {21}\r\n")
        assert client.line().startswith("+")
        client.send("Subject: x\r\n\r\nhello\r\n\r\n")
        assert client.answer("a")[-1].startswith("a OK ")
        assert " OK " in client.command("LOGOUT")[-1]
    assert (name, "imap") in cyrus.asked
    postern.wait_log(rf"imap-login: Info: proxy\({name},127\.0\.0\.1:\d+\): Started proxying to ")


def test_imap_with_a_password_that_takes_a_literal(postern, cyrus, account):
    name, password = account(cyrus.port, password=f"p\u00e4ss-{os.urandom(6).hex()}")
    with Imap(postern.port) as client:
        client.send(f"a LOGIN {name} {{{len(password.encode())}+}}\r\n{password}\r\n")
        assert client.answer("a")[-1].startswith("a OK ")


def test_imap_with_one_command_at_a_time(postern, cyrus, account):
    name, password = account(cyrus.port)
    postern.passdbs["users"]["override_fields"] = "proxy_nopipelining=y"
    postern.write_configuration()
    assert postern.ctl("reload").code == 0
    with Imap(postern.port) as client:
        assert client.login(name, password).startswith("OK ")


@pytest.mark.parametrize("fields", [{}, {"proxy_mech": "plain"}, {"starttls": "any-cert"}, {"ssl": "any-cert"}],
                         ids=lambda fields: "-".join(fields.values()) or "user-pass")
def test_pop3(postern, cyrus, account, fields):
    name, password = account(cyrus.pop3s_port if "ssl" in fields else cyrus.pop3_port, **fields)
    with Pop3(postern.pop3_port) as client:
        assert client.command(f"USER {name}").startswith("+OK")
        assert client.command(f"PASS {password}").startswith("+OK ")
        assert client.command("STAT").startswith("+OK 0 ")
        assert client.command("QUIT").startswith("+OK")
    assert (name, "pop") in cyrus.asked


@pytest.mark.parametrize("fields", [{}, {"starttls": "any-cert"}], ids=lambda fields: "-".join(fields.values()) or "plain")
def test_managesieve(postern, cyrus, account, fields):
    name, password = account(cyrus.sieve_port, **fields)
    with Imap(cyrus.port) as direct:  # it lets nobody in who has no mailbox yet
        assert direct.login(name, password).startswith("OK ")
    with Sieve(postern.sieve_port) as client:
        assert client.login(name, password).startswith("OK")
        assert client.command('PUTSCRIPT "mine" "keep;"').startswith("OK")
        assert client.command("LISTSCRIPTS").startswith("OK")
    assert (name, "sieve") in cyrus.asked


def test_refused_passwords(postern, cyrus, account):
    name, password = account(cyrus.port)
    cyrus.add_user(name, "another one")
    with Imap(postern.port) as client:
        assert client.login(name, password) == "NO [AUTHENTICATIONFAILED] Authentication failed."
        assert " OK " in client.command("NOOP")[-1]
    postern.wait_log(rf"proxy\({name},127\.0\.0\.1:\d+\): Login failed: ")
