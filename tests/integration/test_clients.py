"""Clients people use, through Postern to a real Dovecot. All with all protocols: test_client_matrix.py."""
import hashlib
import imaplib
import random
import ssl
import subprocess

import pytest

from harness.postern import installed


class TestImaplib:
    def test_stores_searches_and_fetches_a_message(self, postern, user, tls):
        name, password = user()
        postern.start()
        client = imaplib.IMAP4_SSL("localhost", postern.tls_port, ssl_context=tls)
        assert client.login(name, password)[0] == "OK"
        assert client.append("INBOX", "", None, b"Subject: seen through the gate\r\n\r\nbody\r\n")[0] == "OK"
        assert client.select("INBOX") == ("OK", [b"1"])
        assert client.search(None, "SUBJECT", '"through the gate"') == ("OK", [b"1"])
        assert b"body" in client.fetch("1", "(BODY[])")[1][0][1]
        assert client.logout()[0] == "BYE"

    def test_authenticates_with_sasl_plain(self, postern, user, tls):
        name, password = user()
        postern.start()
        client = imaplib.IMAP4_SSL("localhost", postern.tls_port, ssl_context=tls)
        assert client.authenticate("PLAIN", lambda _: f"\0{name}\0{password}".encode())[0] == "OK"
        client.logout()

    def test_sees_a_password_with_quotes_blanks_and_umlauts_arrive_whole(self, postern, user, tls):
        name, password = user(password='g"h\\ ;#ä %u {PLAIN}')
        postern.start()
        client = imaplib.IMAP4_SSL("localhost", postern.tls_port, ssl_context=tls)
        assert client.authenticate("PLAIN", lambda _: f"\0{name}\0{password}".encode())[0] == "OK"
        client.logout()


def message(number):
    body = random.Random(number).randbytes(random.Random(-number).randrange(100, 20000)).hex()
    lines = "\r\n".join(body[i:i + 76] for i in range(0, len(body), 76))
    return (f"From: a@example.com\r\nTo: b@example.com\r\nSubject: number {number}\r\n"
            f"Message-ID: <{number}@example.com>\r\n\r\n{lines}\r\n")


def bodies(maildir):
    """The digest of each message's subject and body; headers a synchroniser adds are left out."""
    found = set()
    for path in list((maildir / "cur").iterdir()) + list((maildir / "new").iterdir()):
        head, _, body = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
        subject = next(line for line in head.split(b"\n") if line.startswith(b"Subject:"))
        found.add(hashlib.sha256(subject + b"\n" + body).hexdigest())
    return found


def mbsync(directory, near, postern, authority, name, password):
    (directory / "mbsyncrc").write_text(f"""
IMAPAccount gate
Host localhost
Port {postern.tls_port}
User {name}
Pass {password}
SSLType IMAPS
CertificateFile {authority.cert}
PipelineDepth 50

IMAPStore far
Account gate

MaildirStore near
Path {near}/
Inbox {near}/INBOX

Channel all
Far :far:
Near :near:
Patterns INBOX
Create Both
SyncState *
""")
    done = subprocess.run(["mbsync", "-c", str(directory / "mbsyncrc"), "-a"], capture_output=True, text=True,
                          timeout=300, stdin=subprocess.DEVNULL, env={"HOME": str(directory), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not installed("mbsync"), reason="no mbsync")
def test_mbsync_moves_a_mailbox_of_500_messages_both_ways(postern, user, authority, directory):
    name, password = user()
    postern.start()
    ours = directory / "ours"
    for part in ("cur", "new", "tmp"):
        (ours / "INBOX" / part).mkdir(parents=True)
    for number in range(500):
        (ours / "INBOX/cur" / f"{1600000000 + number}.{number}.host:2,S").write_text(message(number), newline="")
    mbsync(directory, ours, postern, authority, name, password)
    theirs = directory / "theirs"
    theirs.mkdir()
    mbsync(directory, theirs, postern, authority, name, password)
    assert len(bodies(theirs / "INBOX")) == 500
    assert bodies(theirs / "INBOX") == bodies(ours / "INBOX")


def test_a_client_that_does_not_know_the_authority_refuses_the_certificate(postern):
    postern.start()
    with pytest.raises(ssl.SSLCertVerificationError):
        imaplib.IMAP4_SSL("localhost", postern.tls_port, ssl_context=ssl.create_default_context())


def test_no_client_is_needed_to_see_the_greeting(postern):
    postern.start()
    from harness.imap import Imap
    with Imap(postern.port) as client:
        assert client.greeting.startswith("* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ "
                                          "STARTTLS AUTH=PLAIN AUTH=LOGIN] Postern ready.")
