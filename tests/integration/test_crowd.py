"""Many sessions at once."""
import selectors
import socket
import time

import pytest

from harness.imap import Imap
from harness.procs import wait_for


@pytest.mark.alone
def test_2000_sessions_are_open_at_once_through_two_processes(postern, crowd_backend):
    postern.add_user("u1", "pw-of-u1-3b9d", proxy="y", host="127.0.0.1", port=crowd_backend.port)
    postern.service |= {"process_min_avail": "2", "process_limit": "2", "client_limit": "2000"}
    postern.settings["default_client_limit"] = "4000"
    postern.start()
    clients = []
    try:
        while len(clients) < 2000:
            batch = [Imap(postern.port, greeting=False, timeout=60) for _ in range(100)]
            clients += batch
            for client in batch:
                assert client.line().startswith("* OK "), len(clients)
                client.send("a LOGIN u1 pw-of-u1-3b9d\r\n")
            for client in batch:
                assert client.answer("a")[-1].startswith("a OK "), len(clients)
        assert crowd_backend.connections == 2000
        assert len(postern.pids("imap-login")) == 2
        rows = postern.ctl("proxy", "list", form="json").json()
        assert len(rows) == 2000
        for client in clients:
            client.send("b NOOP\r\n")
        for client in clients:
            assert client.answer("b")[-1].startswith("b OK ")
        # Sessions do not count as clients: the next one still gets in.
        with Imap(postern.port) as newcomer:
            assert newcomer.login("u1", "pw-of-u1-3b9d").startswith("OK ")
    finally:
        for client in clients:
            client.close()
    wait_for("the sessions' end", lambda: not crowd_backend.connections, 30)


SHARED = {"service_count": "0", "process_min_avail": "2", "process_limit": "2", "client_limit": "400"}
OWN = {"service_count": "1", "client_limit": "1", "process_limit": "40"}


@pytest.mark.alone
@pytest.mark.parametrize("service,crowd", [(SHARED, 1600), (OWN, 240)], ids=["shared processes", "a process each"])
def test_good_logins_get_through_while_others_only_hold_connections_T_NET_01(postern, user, service, crowd):
    name, password = user()
    postern.service = service
    postern.settings["auth_failure_delay"] = "5 secs"
    postern.start()
    early = Imap(postern.port)  # from an address of its own, and older than all of them
    relayed = Imap(postern.port)
    assert relayed.login(name, password).startswith("OK ")
    slow = []
    try:
        for i in range(crowd // 2):
            slow.append(socket.create_connection(("127.0.0.1", postern.port), 20, source_address=(f"127.0.0.{50 + i % 8}", 0)))
        busy = Imap(postern.port)
        busy.send(f"a LOGIN {name} wrong-{password}\r\n")  # auth is busy with it while the others come
        for i in range(crowd // 2):
            slow.append(socket.create_connection(("127.0.0.1", postern.port), 20, source_address=(f"127.0.0.{50 + i % 8}", 0)))
            if i % (crowd // 20) == 0:
                with Imap(postern.port) as client:
                    assert client.login(name, password).startswith("OK "), i
        assert busy.answer("a")[-1].startswith("a NO [AUTHENTICATIONFAILED]")
        assert " OK " in early.command("NOOP")[-1] and " OK " in relayed.command("NOOP")[-1]
        assert early.login(name, password).startswith("OK ")
    finally:
        for client in [*slow, early, relayed, busy]:
            client.close()
    sent_away = [line for line in postern.log_text().splitlines() if "Connection queue full" in line]
    assert sent_away and all("rip=127.0.0.5" in line for line in sent_away), sent_away[:3]
    postern.wait_log(r"imap-login\): process_limit \(\d+\) reached, client connections are being dropped")


@pytest.mark.alone
def test_the_oldest_go_when_the_service_is_full_and_read_why(postern, user):
    name, password = user()
    postern.service |= {"process_min_avail": "1", "process_limit": "1", "client_limit": "20"}
    postern.start()
    with Imap(postern.port) as relayed:
        assert relayed.login(name, password).startswith("OK ")
        waiting = [Imap(postern.port) for _ in range(20)]
        with Imap(postern.port) as newcomer:
            assert newcomer.login(name, password).startswith("OK ")
        selector = selectors.DefaultSelector()
        for client in waiting:
            selector.register(client.socket, selectors.EVENT_READ, client)
        evicted = [key.data for key, _ in selector.select(5)]
        assert evicted and waiting[0] in evicted and len(evicted) < 10, len(evicted)
        assert evicted[0].line() == "* BYE Connection queue full"
        assert " OK " in relayed.command("NOOP")[-1]
        for client in waiting:
            client.close()
    postern.wait_log(r"Disconnected: Connection queue full \(no auth attempts in \d+ secs\): user=<>, rip=")


@pytest.mark.alone
def test_who_cannot_be_served_is_told_and_nobody_else_is_touched_T_NET_07(postern, user):
    """Every slot is taken by somebody auth is busy with, so that nobody can be sent away."""
    name, password = user()
    postern.service |= {"process_min_avail": "1", "process_limit": "1", "client_limit": "20"}
    postern.settings |= {"auth_failure_delay": "60 secs", "disable_plaintext_auth": "no"}
    postern.start()
    with Imap(postern.port) as relayed:
        assert relayed.login(name, password).startswith("OK ")
        busy = [Imap(postern.port, source=(f"127.0.0.{60 + i}", 0)) for i in range(20)]
        for client in busy:
            client.send(f"a LOGIN {name} wrong-{password}\r\n")
        wait_for("auth to be busy with all", lambda: postern.log_text().count("Password mismatch") >= len(busy))
        begun = time.monotonic()
        newcomers = [Imap(postern.port, greeting=False, timeout=60) for _ in range(30)]
        for client in newcomers:
            assert client.line() == "* BYE [UNAVAILABLE] Too many connections, try again later."
            assert client.at_end()
        passed = time.monotonic() - begun
        assert " OK " in relayed.command("NOOP")[-1]
        assert "Connection queue full" not in postern.log_text()
        lines = postern.log_text().count("client_limit (20) reached, client connections are being dropped")
        assert 1 <= lines <= passed + 2, (lines, passed)
        for client in busy + newcomers:
            client.close()
