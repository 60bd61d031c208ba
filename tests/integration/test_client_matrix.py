"""Real clients, each with each protocol and each way of TLS it has, through Postern to a real mailbox.

A further protocol is a row of PROTOCOLS and what the clients need of it."""
import imaplib
import os
import poplib
import re
import subprocess

import pytest

from harness.imap import Imap
from harness.postern import Postern, installed

WAYS = ("clear", "starttls", "tls")
PROTOCOLS = ("imap", "pop3")
PASSWORD = f"pw-{os.urandom(8).hex()}"


class World:
    """One Postern for all of this file, with one user for each protocol who has one message."""

    def __init__(self, directory, backend, server_pair):
        self.postern = Postern(directory, server_pair)
        self.postern.settings["protocols"] = " ".join(PROTOCOLS)
        ports = {"imap": backend.port, "pop3": backend.pop3_port}
        names = {protocol: f"matrix-{protocol}" for protocol in PROTOCOLS}
        backend.add_users({name: PASSWORD for name in names.values()})
        for protocol, name in names.items():
            self.postern.add_user(name, PASSWORD, proxy="y", host="127.0.0.1", port=ports[protocol])
            with Imap(backend.port) as client:
                assert client.login(name, PASSWORD).startswith("OK")
                client.send("a APPEND INBOX {42+}\r\nSubject: in the matrix\r\n\r\nso it arrived.\r\n\r\n")
                assert " OK " in client.answer("a")[-1]
        self.postern.start()

    def port(self, protocol, way):
        postern = self.postern
        clear, tls = {"imap": (postern.port, postern.tls_port), "pop3": (postern.pop3_port, postern.pop3s_port)}[protocol]
        return tls if way == "tls" else clear

    def saw(self, protocol, way):
        """The login is in the log, as what it was."""
        secured = "secured" if way == "clear" else "TLS"
        self.postern.wait_log(rf"{protocol}-login: Info: proxy\(matrix-{protocol},.*Started proxying to .*user=<matrix-{protocol}>, "
                              rf"method=[\w-]+, rip=127\.0\.0\.1, lip=127\.0\.0\.1, {secured}, session=<")


@pytest.fixture(scope="module")
def world(session_directory, backend, server_pair):
    it = World(session_directory / "matrix", backend, server_pair)
    yield it
    complaints = it.postern.stop() + it.postern.complaints()
    assert not complaints, complaints


def run(directory, *command, text=None, timeout=60):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout, cwd=directory,
                          **({"input": text} if text else {"stdin": subprocess.DEVNULL}),
                          env={"HOME": str(directory), "FETCHMAILHOME": str(directory), "PATH": "/usr/bin:/bin"})


@pytest.mark.skipif(not installed("curl"), reason="no curl")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_curl(world, authority, directory, protocol, way):
    scheme = protocol + ("s" if way == "tls" else "")
    options = ["--ssl-reqd"] if way == "starttls" else []
    base = f"{scheme}://localhost:{world.port(protocol, way)}"
    what = {"imap": f"{base}/INBOX;MAILINDEX=1", "pop3": f"{base}/1"}[protocol]

    def curl(password, url):
        return run(directory, "curl", "-sS", "--max-time", "30", "--cacert", authority.cert, *options, "-u", f"matrix-{protocol}:{password}", url)
    done = curl(PASSWORD, what)
    assert done.returncode == 0 and "so it arrived." in done.stdout, done.stdout + done.stderr
    assert curl("wrong-1", base + "/").returncode == 67  # "login denied"
    world.saw(protocol, way)


@pytest.mark.skipif(not installed("mbsync"), reason="no mbsync")
@pytest.mark.parametrize("way", WAYS)
def test_mbsync(world, authority, directory, way):
    (directory / "near").mkdir()
    (directory / "mbsyncrc").write_text(f"""
IMAPAccount gate
Host localhost
Port {world.port("imap", way)}
User matrix-imap
Pass {PASSWORD}
SSLType {dict(clear="None", starttls="STARTTLS", tls="IMAPS")[way]}
CertificateFile {authority.cert}

IMAPStore far
Account gate

MaildirStore near
Path {directory}/near/
Inbox {directory}/near/INBOX

Channel all
Far :far:
Near :near:
Patterns INBOX
Create Near
Sync Pull
SyncState *
""")
    done = run(directory, "mbsync", "-c", directory / "mbsyncrc", "-a")
    assert done.returncode == 0, done.stdout + done.stderr
    assert any("so it arrived." in path.read_text() for path in (directory / "near/INBOX").glob("*/*"))
    world.saw("imap", way)


@pytest.mark.skipif(not installed("fetchmail"), reason="no fetchmail")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_fetchmail(world, authority, directory, protocol, way):
    tls = {"clear": 'sslproto ""', "starttls": "sslproto tls1.2+", "tls": "ssl"}[way]
    rc = directory / "fetchmailrc"
    rc.write_text(f"""poll localhost with proto {protocol.upper()} service {world.port(protocol, way)} auth password
  user "matrix-{protocol}" password "{PASSWORD}" {tls} sslcertck sslcertfile "{authority.cert}"
  mda "/bin/sh -c 'cat >> {directory}/mail'"
""")
    rc.chmod(0o600)
    done = run(directory, "fetchmail", "--nosyslog", "--nodetach", "-d0", "-f", rc, "--pidfile", directory / "pid", "-k", "-a")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "so it arrived." in (directory / "mail").read_text()
    world.saw(protocol, way)


@pytest.mark.parametrize("way", WAYS)
def test_pythons_imaplib(world, tls, way):
    port = world.port("imap", way)
    client = imaplib.IMAP4_SSL("localhost", port, ssl_context=tls) if way == "tls" else imaplib.IMAP4("localhost", port)
    if way == "starttls":
        assert client.starttls(tls)[0] == "OK"
    assert client.login("matrix-imap", PASSWORD)[0] == "OK"
    assert client.select("INBOX", readonly=True) == ("OK", [b"1"])
    assert b"so it arrived." in client.fetch("1", "(BODY.PEEK[TEXT])")[1][0][1]
    assert client.logout()[0] == "BYE"
    world.saw("imap", way)


@pytest.mark.parametrize("way", WAYS)
def test_pythons_poplib(world, tls, way):
    port = world.port("pop3", way)
    client = poplib.POP3_SSL("localhost", port, context=tls) if way == "tls" else poplib.POP3("localhost", port)
    if way == "starttls":
        client.stls(tls)
    client.user("matrix-pop3")
    assert client.pass_(PASSWORD) == b"+OK Logged in."
    assert b"so it arrived." in client.retr(1)[1]
    client.quit()
    world.saw("pop3", way)


@pytest.mark.parametrize("way", WAYS[1:])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_openssl_s_client(world, authority, directory, protocol, way):
    text = {"imap": f'a LOGIN matrix-imap {PASSWORD}\r\nb EXAMINE INBOX\r\nc FETCH 1 BODY.PEEK[TEXT]\r\nd LOGOUT\r\n',
            "pop3": f"USER matrix-pop3\r\nPASS {PASSWORD}\r\nRETR 1\r\nQUIT\r\n"}[protocol]
    done = run(directory, "openssl", "s_client", "-quiet", "-verify_return_error", "-ign_eof", "-connect",
               f"127.0.0.1:{world.port(protocol, way)}", "-servername", "localhost", "-verify_hostname", "localhost", "-CAfile",
               authority.cert, *(["-starttls", protocol] if way == "starttls" else []), text=text)
    assert "so it arrived." in done.stdout and re.search(r"^(d OK|\+OK Logging out)", done.stdout, re.M), done.stdout + done.stderr
    world.saw(protocol, way)
