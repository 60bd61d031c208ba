"""Somebody who speaks none of a port's protocol: closed at once, and led nowhere."""
import collections
import re
import socket
import ssl

import pytest

from harness.procs import wait_for

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # how a TLS handshake begins; no line ends in it
WORDS = {"imap": b"* BYE Wrong protocol.\r\n", "pop3": b"-ERR Wrong protocol.\r\n",
         "submission": b"421 4.0.0 gate.example Wrong protocol.\r\n", "managesieve": b'BYE "Wrong protocol."\r\n'}
GREETINGS = {"imap": b"* OK ", "pop3": b"+OK ", "submission": b"220 ", "managesieve": b'"IMPLEMENTATION" '}
# What a page can make a browser send, with commands of ours where it decides what is said.
REQUESTS = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /a HTTP/1.1\r\nHost: x\r\n\r\na LOGIN u p\r\nUSER u\r\nQUIT\r\n",
            b"get http://x/ HTTP/1.0\n\n", b"OPTIONS * HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]


@pytest.fixture
def gate(postern):
    postern.settings |= {"protocols": "imap pop3 submission sieve", "hostname": "gate.example"}
    postern.start()
    return postern


def ports(gate):
    return {"imap": (gate.port, gate.tls_port), "pop3": (gate.pop3_port, gate.pop3s_port),
            "submission": (gate.submission_port, gate.submissions_port), "managesieve": (gate.sieve_port, gate.sieves_port)}


def heard(stream, data, piece=None):
    """All that is said to `data` until the end. The timeout is far below login_timeout: nobody is closed by that."""
    stream.settimeout(20)
    out = b""
    try:
        for at in range(0, len(data), piece or len(data)):
            stream.sendall(data[at:at + (piece or len(data))])
        while got := stream.recv(65536):
            out += got
    except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
        pass
    return out


def greeted(protocol, port, context=None):
    stream = socket.create_connection(("127.0.0.1", port), 20)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context:
        stream = context.wrap_socket(stream, server_hostname="localhost")
    said = b""
    while not said.endswith(b"\n"):
        got = stream.recv(65536)
        assert got, (protocol, said)
        said += got
    assert said.startswith(GREETINGS[protocol]), (protocol, said)
    return stream


def refused(gate, protocol):
    """How often each verb was logged as another protocol's."""
    return collections.Counter(re.findall(rf"{protocol}-login: Info: Disconnected: Wrong protocol \((\w+)\) \(no auth attempts", gate.log_text()))


def test_browsers_and_mail_servers_are_closed_at_their_first_line_T_NET_17(gate, tls):
    for protocol, (plain, secure) in ports(gate).items():
        verbs = collections.Counter()
        foreign = REQUESTS + ([] if protocol == "submission" else [b"EHLO x\r\nAUTH PLAIN\r\nQUIT\r\n", b"HELO x\r\nQUIT\r\n"])
        for port, context in ((plain, None), (secure, tls)):
            for data in foreign:
                for piece in (None, 3):
                    verbs[data.split(b" ")[0].decode().upper()] += 1
                    with greeted(protocol, port, context) as stream:
                        said = heard(stream, data, piece)
                    # A reset may eat the word, but nothing else is ever said, and nothing of theirs repeated.
                    assert said in (WORDS[protocol], b""), (protocol, data, said)
        # Each of them was closed for that, and for nothing else.
        wait_for("the lines", lambda: refused(gate, protocol) == verbs)  # noqa: B023


def test_tls_and_rubbish_on_a_plain_port_are_closed_at_their_first_byte_T_NET_17(gate, tls):
    for protocol, (plain, secure) in ports(gate).items():
        for port, context in ((plain, None), (secure, tls)):
            for data in (HELLO, HELLO[:1], bytes(range(256)) * 8, b"\x80\x2e\x01\x00\x02", b"\0"):
                with greeted(protocol, port, context) as stream:
                    assert heard(stream, data) == b"", (protocol, data)
        gate.wait_log(rf"{protocol}-login: Info: Disconnected: TLS handshake where none is expected \(no auth attempts")
        gate.wait_log(rf"{protocol}-login: Info: Disconnected: Binary input \(no auth attempts")


def test_plaintext_on_a_tls_port_is_closed_without_a_plain_word_T_NET_17(gate):
    for protocol, (_, secure) in ports(gate).items():
        for data in (*REQUESTS, b"a LOGIN u p\r\n", b"EHLO x\r\n", bytes(range(256))):
            with socket.create_connection(("127.0.0.1", secure), 20) as stream:
                said = heard(stream, data)
            assert said == b"" or said.startswith(b"\x15\x03"), (protocol, data, said)  # a TLS alert


def test_a_client_that_errs_may_go_on(gate):
    """Who begins with an empty line, a telnet program's negotiation or a typing error is no stranger."""
    for protocol, ask, answer in (("imap", b"x NOOP\r\n", b"x OK"), ("pop3", b"CAPA\r\n", b"+OK"), ("submission", b"NOOP\r\n", b"250"),
                                  ("managesieve", b"NOOP\r\n", b"OK")):
        for first in (b"\r\n", b"\r\n\r\n", b"\xff\xfb\x1f\r\n", b"PROXYNOOP\r\n"):
            with greeted(protocol, ports(gate)[protocol][0]) as stream:
                stream.sendall(first + ask)
                stream.settimeout(20)
                said = b""
                while b"\n" + answer not in b"\n" + said:
                    got = stream.recv(65536)
                    assert got, (protocol, first, said)
                    said += got
