"""What strangers may send, and what it costs us."""
import os
import pathlib
import signal
import socket
import time

import pytest

from harness.imap import Imap
from harness.pop3 import Pop3
from harness.procs import wait_for


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


MODES = pytest.mark.parametrize("service", [{"service_count": "0"}, {"service_count": "1"}], ids=["shared processes", "a process each"])
TOO_MANY = r"imap-login: Info: Disconnected: Too many connections from this address \(login_max_connections_per_ip=3\) \(no auth attempts in 0 secs\): user=<>, "


@MODES
def test_an_address_may_have_so_many_clients_before_login(postern, tls, service):
    postern.service = service
    postern.settings |= {"login_max_connections_per_ip": "3", "login_reject_message": "One at a time, please.", "protocols": "imap pop3",
                         "login_trusted_networks": "127.0.0.3"}
    postern.start()

    def come(address, **options):
        return Imap(postern.port, source=(address, 0), **options)
    held = [come("127.0.0.7") for _ in range(3)]
    assert all(client.greeting.startswith("* OK ") for client in held)
    with come("127.0.0.7") as fourth:
        assert fourth.greeting == "* BYE One at a time, please." and fourth.at_end()
    postern.wait_log(TOO_MANY + r"rip=127\.0\.0\.7, lip=127\.0\.0\.1, session=")
    with Imap(postern.tls_port, tls, source=("127.0.0.7", 0)) as fourth:
        assert fourth.greeting == "* BYE One at a time, please." and fourth.at_end()
    postern.wait_log(TOO_MANY + r"rip=127\.0\.0\.7, lip=127\.0\.0\.1, TLS, session=")
    # Other addresses, other services and a trusted hop are not concerned.
    others = [come("127.0.0.8")] + [come("127.0.0.3") for _ in range(5)] + [Pop3(postern.pop3_port, source=("127.0.0.7", 0))]
    assert all(other.greeting.startswith(("* OK ", "+OK ")) for other in others)
    # Who leaves makes room.
    held.pop().close()
    wait_for("room", lambda: admitted(come("127.0.0.7"))).close()
    for client in held + others:
        client.close()


def admitted(client):
    """The client if it was greeted, nothing if it was sent away."""
    if client.greeting.startswith("* OK "):
        return client
    client.close()
    return None


@MODES
def test_sessions_after_login_do_not_count_for_an_address(postern, user, tls, service):
    name, password = user()
    postern.service = service
    postern.settings["login_max_connections_per_ip"] = "2"
    postern.start()
    held = []
    for _ in range(6):
        held.append(wait_for("room", lambda: admitted(Imap(postern.tls_port, tls, source=("127.0.0.7", 0)))))
        assert held[-1].login(name, password).startswith("OK ")
    for client in held:
        client.close()


def test_without_anvil_nobody_is_counted_and_nobody_locked_out(postern):
    postern.settings["login_max_connections_per_ip"] = "2"
    postern.may_die = True
    postern.start()
    held = [Imap(postern.port, source=("127.0.0.7", 0)) for _ in range(2)]
    os.kill(postern.pids("anvil")[0], signal.SIGSTOP)
    with Imap(postern.port, source=("127.0.0.7", 0)) as third:  # anvil has two seconds to answer
        assert third.greeting.startswith("* OK ")
    postern.wait_log("imap-login: Warning: anvil: it does not answer; login_max_connections_per_ip does not hold until it is back")
    os.kill(postern.pids("anvil")[0], signal.SIGKILL)
    for client in held:
        assert " OK " in client.command("NOOP")[-1]
        client.close()


@pytest.mark.parametrize("service,limits", [({"service_count": "0", "process_limit": "2"}, (2, 20)), ({"service_count": "1"}, (40, 1))],
                         ids=["shared processes", "a process each"])
def test_one_number_of_sessions_sets_the_limits_and_is_watched(postern, service, limits):
    postern.service = service
    postern.settings["login_max_sessions"] = "40"
    postern.start()

    def status():
        rows = postern.ctl("service", "status", "imap-login", form="json").json()
        return {key: int(value) for key, value in rows[0].items() if value.isdigit()}
    row = status()
    assert (row["process_limit"], row["client_limit"], row["max_sessions"]) == (*limits, 40), row
    held = [Imap(postern.port) for _ in range(20)]
    wait_for("half of it", lambda: status()["used_percent"] == 50)
    assert "of its room" not in postern.log_text()
    held += [Imap(postern.port) for _ in range(20)]
    assert all(client.greeting.startswith("* OK ") for client in held)
    postern.wait_log(r"master: Warning: service\(imap-login\): (8|9|10)\d% of its room for clients is used \(\d+ of 40; "
                     rf"process_limit={limits[0]}, client_limit={limits[1]}\)")
    wait_for("all of it", lambda: status()["used_percent"] == 100)
    with Imap(postern.port) as one_more:  # somebody makes room, and is told
        assert one_more.greeting.startswith("* OK ")
    postern.wait_log("process_limit \\(\\d+\\) reached, client connections are being dropped")
    assert postern.log_text().count("of its room") == 1
    for client in held:
        client.close()


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
