"""Who the backend thinks is there: the user's name, master users, the client's address."""
import re

import pytest

from harness import fake_backend as fakes
from harness.imap import Imap
from harness.procs import wait_for


def test_a_sessions_row_says_how_its_client_is_secured(postern, user, tls):
    name, password = user()
    postern.settings["disable_plaintext_auth"] = "no"
    postern.start()
    for context, source, expected in ((None, "127.0.0.1", "secured"), (None, "127.0.0.2", ""), (tls, "127.0.0.2", "TLS")):
        with Imap(postern.tls_port if context else postern.port, context, source=(source, 0)) as client:
            assert client.login(name, password).startswith("OK ")
            rows = wait_for("one session", lambda: len(r := postern.ctl("who", "-1", form="json").json()) == 1 and r)
            assert rows[0]["secured"] == expected, rows
        wait_for("its end", lambda: postern.ctl("who", "-1", form="json").json() == [])


def test_destuser_is_the_name_at_the_backend(postern, user, backend):
    name, password = user(destuser="inside-name")
    postern.start()
    with Imap(postern.port) as client:
        assert client.login(name, password).startswith("OK ")
    postern.wait_log(r"Started proxying to <127\.0\.0\.1> as user inside-name \(\d")
    assert "user=<inside-name>" in backend.log_text()


def test_a_master_user_logs_in_for_the_user(postern, backend):
    backend.add_user("boss-less", "unknown-to-postern")
    backend.add_master("gate", "pw-of-the-gate")
    postern.passwords |= {"unknown-to-postern", "pw-of-the-gate"}
    postern.add_user("boss-less", "pw-at-the-gate", proxy="y", host="127.0.0.1", port=backend.port, master="gate",
                     **{"pass": "pw-of-the-gate"})
    postern.start()
    with Imap(postern.port) as client:
        assert client.login("boss-less", "pw-at-the-gate").startswith("OK ")
    postern.wait_log(r"Started proxying to <127\.0\.0\.1> \(master gate\) \(\d")


def test_a_fixed_password_replaces_the_users(postern, backend):
    backend.add_user("fixed", "pw-there")
    postern.passwords.add("pw-there")
    postern.add_user("fixed", "pw-here", proxy="y", host="127.0.0.1", port=backend.port, **{"pass": "pw-there"})
    postern.start()
    with Imap(postern.port) as client:
        assert client.login("fixed", "pw-here").startswith("OK ")


def test_the_backend_logs_the_clients_address_and_our_session(postern, user, backend, tls):
    name, password = user()
    postern.start()
    with Imap(postern.tls_port, tls, source=("127.0.0.7", 0)) as client:
        assert client.login(name, password).startswith("OK ")
        line = postern.wait_log(rf"Started proxying to .*user=<{name}>, method=PLAIN, rip=127\.0\.0\.7, "
                                r"lip=127\.0\.0\.1, TLS, session=<")
        session = re.search(r"session=<([^>]+)>", line).group(1)
        there = wait_for("the backend's line", lambda: next(
            (x for x in backend.log_text().splitlines() if f"user=<{name}>" in x and "Login:" in x), None))
        assert "rip=127.0.0.7" in there and f"session=<{session}>" in there


def test_a_strangers_claims_of_identity_are_not_passed_on_T_NET_13(postern, user, backend):
    name, password = user()
    postern.settings["disable_plaintext_auth"] = "no"
    postern.start()
    with Imap(postern.port, source=("127.0.0.8", 0)) as client:
        client.command('ID ("x-originating-ip" "203.0.113.77" "x-session-ext-id" "forged")')
        assert client.login(name, password).startswith("OK ")
        postern.wait_log(rf"user=<{name}>.*rip=127\.0\.0\.8")
    assert "203.0.113.77" not in postern.log_text() + backend.log_text()


def test_a_trusted_hops_word_is_taken(postern, user):
    name, password = user()
    postern.settings["login_trusted_networks"] = "127.0.0.9"
    postern.start()
    with Imap(postern.port, source=("127.0.0.9", 0)) as client:
        client.command('ID ("x-originating-ip" "203.0.113.77" "x-originating-port" "4242")')
        assert client.login(name, password).startswith("OK ")
        postern.wait_log(rf"user=<{name}>.*rip=203\.0\.113\.77")


@pytest.mark.parametrize("password", ['quo"te', "back\\slash", "ünï", "{99+}", "a b  c", "%u$HOME`id`"])
def test_odd_passwords_cannot_break_out_of_the_backends_dialogue_T_USR_02(postern, fake_backend, password):
    import base64
    backend = fake_backend(fakes.serve)
    postern.add_user("u1", password, proxy="y", host="127.0.0.1", port=backend.port)
    postern.start()
    with Imap(postern.port) as client:
        token = base64.b64encode(f"\0u1\0{password}".encode()).decode()
        assert " OK " in client.command(f"AUTHENTICATE PLAIN {token}")[-1]
    sent = bytes(backend.received)
    encoded = password.encode()
    quoted = b'"' + encoded.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    literal = re.search(rb"\{%d\+?\}\r\n" % len(encoded) + re.escape(encoded), sent)
    assert quoted in sent or literal or b" LOGIN u1 " + encoded + b"\r\n" in sent, sent


def test_the_backends_capabilities_are_what_the_client_sees_after_login(postern, user):
    name, password = user()
    postern.start()
    with Imap(postern.port) as client:
        client.command("CAPABILITY")
        lines = client.command(f"LOGIN {name} {password}")
        assert lines[-2].startswith("* CAPABILITY IMAP4rev1 ") and "IDLE" in lines[-2], lines
        assert "[CAPABILITY" in lines[-1] or " OK " in lines[-1]
