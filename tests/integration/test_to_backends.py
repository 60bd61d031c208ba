"""What a backend is shown, and must show, besides the login: pinned keys, PROXY headers; and what is written down of it."""
import base64
import hashlib
import os
import re
import subprocess

import pytest

from harness.imap import Imap
from harness.procs import wait_for

UNAVAILABLE = "NO [SERVERBUG] Account is temporarily unavailable."


def pin_of(pair):
    """As the manual says it is made."""
    key = subprocess.run(["openssl", "x509", "-in", pair.cert, "-noout", "-pubkey"], check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=key, check=True, capture_output=True).stdout
    return "sha256//" + base64.b64encode(hashlib.sha256(der).digest()).decode()


def with_fields(postern, fields):
    """Fields for every user, beside those in the database."""
    postern.passdbs["users"]["override_fields"] = " ".join(f"{name}={value}" for name, value in fields.items())


@pytest.mark.parametrize("field", ["ssl", "starttls"])
def test_a_backend_with_the_pinned_key_needs_no_certificate_authority_T_TLS_04(postern, user, backend, authority, field):
    right, wrong = pin_of(backend._pair), pin_of(authority.issue("stranger", ["127.0.0.1"]))
    assert right != wrong
    name, password = user(**{field: "any-cert", "port": backend.tls_port if field == "ssl" else backend.port})
    with_fields(postern, {"tls_pins": f"{wrong},{right}"})
    postern.start()
    with Imap(postern.port) as client:
        assert client.login(name, password).startswith("OK ")
    with_fields(postern, {"tls_pins": wrong})
    postern.write_configuration()
    assert postern.ctl("reload").code == 0
    with Imap(postern.port) as client:
        assert client.login(name, password) == UNAVAILABLE
    line = postern.wait_log(r"SSL certificate has none of the pinned keys: it has sha256//\S+, /")
    assert right in line
    assert len(re.findall("none of the pinned keys", postern.log_text())) == 1  # not tried again


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("ssl", [None, "any-cert"])
def test_a_dovecot_takes_the_client_from_our_proxy_header(postern, user, backend, version, ssl):
    name, password = user(port=backend.haproxys_port if ssl else backend.haproxy_port, **({"ssl": ssl} if ssl else {}))
    postern.settings |= {"proxy_protocol": version, "disable_plaintext_auth": "no"}
    postern.start()
    with Imap(postern.port, source=("127.0.0.9", 0)) as client:
        assert client.login(name, password).startswith("OK ")
        line = wait_for("the backend's line", lambda: re.search(rf"Login: user=<{name}>.*", backend.log_text()))
        assert "rip=127.0.0.9, lip=127.0.0.1" in line.group()
        # Not by ID: the session has an id of the backend's own.
        session = re.search(r"session=<([^>]+)>", postern.wait_log(rf"Started proxying to .*user=<{name}>")).group(1)
        assert session not in line.group()


def test_a_raw_log_shows_the_session_and_no_password_T_DAT_09(postern, user):
    name, password = user()
    postern.settings["login_proxy_rawlog_dir"] = "rawlog"
    raw = postern.run / "empty" / "rawlog"
    raw.mkdir(parents=True)
    raw.chmod(0o777)
    postern.start()
    with Imap(postern.port) as client:
        assert client.login(name, password).startswith("OK ")
        client.command("NOOP")
    postern.wait_log("Disconnected by client")
    texts = {path.suffix: path.read_text() for path in raw.iterdir()}
    assert set(texts) == {".in", ".out"}
    for text in texts.values():
        assert all(re.match(r"\d{10}\.\d{6} ", line) for line in text.splitlines())
        assert password not in text and base64.b64encode(password.encode()).decode().rstrip("=") not in text
    assert re.search(r" L LOGIN <\d+ octets>", texts[".out"])
    assert re.search(r"NOOP", texts[".out"])
    assert re.search(r" \* OK .*Backend ready", texts[".in"]) and "NOOP completed" in texts[".in"]


def test_a_raw_log_that_cannot_be_is_told_of_at_the_start_and_stops_nobody(postern, user):
    name, password = user()
    postern.settings["login_proxy_rawlog_dir"] = "rawlog"
    postern.start()
    postern.wait_log(r"Error: login_proxy_rawlog_dir: stat\(rawlog\) failed: No such file or directory")
    with Imap(postern.port) as client:
        assert client.login(name, password).startswith("OK ")


def test_proxy_refresh_writes_the_name_to_the_notify_fifo(postern, user):
    name, password = user()
    with_fields(postern, {"proxy_refresh": "1"})
    postern.run.mkdir(mode=0o755, exist_ok=True)
    (postern.run / "empty").mkdir(mode=0o755, exist_ok=True)
    fifo = postern.run / "empty" / "proxy-notify"
    os.mkfifo(fifo)
    fifo.chmod(0o622)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        postern.start()
        with Imap(postern.port) as client:
            assert client.login(name, password).startswith("OK ")
            got = b""

            def twice():
                nonlocal got
                try:
                    got += os.read(reader, 4096)
                except BlockingIOError:
                    pass
                return got.count(f"{name}\n".encode()) >= 2
            wait_for("two notes", twice, 20)
    finally:
        os.close(reader)


def test_a_missing_notify_fifo_is_told_of_as_dovecot_does(postern, user):
    name, password = user()
    with_fields(postern, {"proxy_refresh": "1"})
    postern.start()
    with Imap(postern.port) as client:
        assert client.login(name, password).startswith("OK ")
        postern.wait_log(r"imap-login: Error: open\(proxy-notify\) failed: No such file or directory")
