"""What strangers may send, and what it costs us."""
import os
import pathlib
import socket
import time

import pytest

from harness.imap import Imap


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("data,expected", [
    (b"a" * 3000, b"* BYE Input buffer full, aborting"),
    (b"a LOGIN {99999999}\r\n", None), (b"a LOGIN {8193+}\r\n", None),
    (b"a ID (" + b"(" * 3000, None), (b"\r\n" * 5000, None), (b"a AUTHENTICATE PLAIN\r\n" + b"A" * 20000, None)])
def test_endless_input_ends_and_leaves_the_process_idle_T_NET_02_T_NET_03(postern, data, expected):
    postern.start()
    with socket.create_connection(("127.0.0.1", postern.port), 10) as client:
        try:
            client.sendall(data)
            client.settimeout(3)
            text = b""
            while chunk := client.recv(65536):
                text += chunk
        except (socket.timeout, OSError):
            pass
        if expected:
            assert expected in text, text[-300:]
        pid = postern.pids("imap-login")[-1]
        before = {p: cpu(p) for p in postern.pids("imap-login")}
        time.sleep(2)
        assert all(cpu(p) - before.get(p, 0) < 0.1 for p in postern.pids("imap-login")), pid
    with Imap(postern.port) as client:
        assert client.greeting.startswith("* OK ")


def test_three_bad_commands_are_enough(postern):
    postern.start()
    with Imap(postern.port) as client:
        for _ in range(2):
            assert " BAD " in client.command("NOSUCHCOMMAND")[-1]
        lines = client.command("NOSUCHCOMMAND")
        assert any(line.startswith("* BYE ") for line in lines), lines
        assert client.at_end()
    postern.wait_log(r"Disconnected: Too many invalid commands \(no auth attempts")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
                                  b"EHLO x\r\nAUTH PLAIN\r\nQUIT\r\nQUIT\r\n", bytes(range(256)) * 8])
def test_another_protocol_is_closed_T_NET_17(postern, data):
    postern.settings["login_timeout"] = "3 secs"
    postern.start()
    with socket.create_connection(("127.0.0.1", postern.port), 10) as client:
        try:
            client.sendall(data)
            while client.recv(65536):
                pass
        except ConnectionResetError:
            pass


def test_who_does_not_log_in_in_time_is_sent_away(postern):
    postern.settings["login_timeout"] = "2 secs"
    postern.start()
    with Imap(postern.port) as client:
        time.sleep(1)
        client.command("NOOP")  # does not extend it
        begun = time.monotonic()
        assert client.line() == "* BYE Disconnected for inactivity."
        assert time.monotonic() - begun < 2
    postern.wait_log(r"Disconnected: Inactivity \(no auth attempts in 2 secs\)")


def test_half_a_tls_handshake_is_sent_away_T_NET_04(postern):
    postern.settings["login_timeout"] = "2 secs"
    postern.start()
    with socket.create_connection(("127.0.0.1", postern.tls_port), 10) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01")
        begun = time.monotonic()
        try:
            while client.recv(1000):
                pass
        except ConnectionResetError:
            pass
        assert time.monotonic() - begun < 5


def test_the_limit_of_sessions_for_user_and_address_is_not_for_proxied_ones(postern, user):
    """As in Dovecot: the backend counts, by the address that is forwarded to it."""
    name, password = user()
    postern.settings["mail_max_userip_connections"] = "3"
    postern.start()
    held = [Imap(postern.port) for _ in range(6)]
    replies = [client.login(name, password) for client in held]
    for client in held:
        client.close()
    assert all(reply.startswith("OK ") for reply in replies), replies


def test_aborted_authentications_leave_memory_flat_T_NET_16(postern):
    from test_relay import memory
    postern.start()

    def abort(times):
        for _ in range(times):
            with Imap(postern.port) as client:
                client.send("a AUTHENTICATE PLAIN\r\n")
                client.line()
    abort(100)
    before = memory(postern.pids("imap-login") + postern.pids("auth"))
    abort(1000)
    grown = memory(postern.pids("imap-login") + postern.pids("auth")) - before
    assert grown < 12 << 20, grown  # the sanitizer keeps freed memory for a while
