"""Idle clients that take every place."""
import socket
import time

import pytest

from harness.fake_backend import serve
from harness.imap import Imap


@pytest.mark.parametrize("limits", [
    {"service_count": "0", "client_limit": "5", "process_limit": "1", "process_min_avail": "1"},
    {"service_count": "1", "client_limit": "1", "process_limit": "5", "process_min_avail": "1"}])
def test_who_logs_in_gets_the_place_of_one_who_does_not_T_NET_01(postern, user, fake_backend, limits):
    name, password = user(port=fake_backend(serve).port)
    postern.service |= limits
    postern.start()
    with Imap(postern.port) as session:
        assert session.login(name, password).startswith("OK ")
        idle = [socket.create_connection(("127.0.0.1", postern.port), 10) for _ in range(25)]
        begun = time.monotonic()
        with Imap(postern.port) as client:
            assert client.login(name, password).startswith("OK ")
        assert time.monotonic() - begun < 5
        assert " OK " in session.command("NOOP")[-1]
        for connection in idle:
            connection.close()
    postern.wait_log("Disconnected: Connection queue full")
