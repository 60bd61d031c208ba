"""service_count = 1: a process a connection; N: a process for so many."""
import socket

import pytest

from harness.imap import Imap
from harness.procs import wait_for


def test_each_session_has_a_process_of_its_own_and_it_ends_with_it(postern, user):
    name, password = user()
    postern.service = {"service_count": "1", "client_limit": "1", "process_limit": "100"}
    postern.start()
    clients = [Imap(postern.port) for _ in range(5)]
    for client in clients:
        assert client.login(name, password).startswith("OK ")
    from test_deaths import sessions
    rows = [row for row in sessions(postern) if row["user"] == name]
    assert len({row["pid"] for row in rows}) == 5
    pids = {int(row["pid"]) for row in rows}
    clients.pop().close()
    wait_for("one to end", lambda: len(pids & set(postern.pids("imap-login"))) == 4)
    for client in clients:
        assert " OK " in client.command("NOOP")[-1]
        client.close()
    wait_for("all to end", lambda: not pids & set(postern.pids("imap-login")))


def test_tls_works_there_too(postern, user, tls):
    name, password = user()
    postern.service = {"service_count": "1", "client_limit": "1", "process_min_avail": "2", "process_limit": "100"}
    postern.start()
    for _ in range(5):
        with Imap(postern.tls_port, tls) as client:
            assert client.login(name, password).startswith("OK ")


@pytest.mark.parametrize("count,limit", [(1, 1), (2, 1), (2, 3), (3, 3)])
def test_a_process_ends_after_its_clients(postern, user, count, limit):
    name, password = user()
    postern.service = {"service_count": str(count), "client_limit": str(limit), "process_limit": "10"}
    postern.start()
    for _ in range(8):
        with Imap(postern.port) as client:
            assert client.login(name, password).startswith("OK ")
    held = [Imap(postern.port) for _ in range(6)]
    for client in held:
        assert client.login(name, password).startswith("OK ")
        client.close()


def test_when_full_of_waiting_clients_the_oldest_goes(postern, user):
    name, password = user()
    postern.service = {"service_count": "2", "client_limit": "3", "process_limit": "1"}
    postern.start()
    waiting = [Imap(postern.port) for _ in range(2)]
    with Imap(postern.port, timeout=15) as newcomer:
        assert newcomer.login(name, password).startswith("OK ")
    for client in waiting:
        client.close()


@pytest.mark.alone
def test_a_burst_of_300_is_served_by_300_processes(postern):
    postern.service = {"service_count": "1", "client_limit": "1", "process_limit": "400"}
    postern.start()
    sockets = [socket.create_connection(("127.0.0.1", postern.port), 60) for _ in range(300)]
    try:
        for one in sockets:
            one.settimeout(60)
            assert one.recv(200).startswith(b"* OK "), "no greeting"
        assert len(postern.pids("imap-login")) == 301  # and the template
    finally:
        for one in sockets:
            one.close()
    wait_for("their end", lambda: len(postern.pids("imap-login")) <= 2, 60)


def test_sessions_do_not_fill_auth(postern, user):
    """A process that only relays has nothing to ask any more."""
    name, password = user()
    postern.service = {"service_count": "1", "client_limit": "1", "process_limit": "100"}
    postern.services.setdefault("auth", {})["client_limit"] = "5"
    postern.start()
    held = []
    for _ in range(12):
        held.append(Imap(postern.port, timeout=20))
        assert held[-1].login(name, password).startswith("OK "), len(held)
    for client in held:
        client.close()
