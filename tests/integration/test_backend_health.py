"""Backends that die and come back, lists of hosts, moving users: the breaker, failover, posternctl proxy."""
import socket
import sqlite3
import threading
import time

import pytest

from harness import fake_backend as fakes
from harness.imap import Imap
from harness.pop3 import Pop3
from harness.procs import free_port, wait_for

UNAVAILABLE = "NO [UNAVAILABLE] Account is temporarily unavailable."
PASSWORD = "pw-of-all-71c4"


def add(postern, name, host, port=None, **fields):
    postern.add_user(name, PASSWORD, proxy="y", host=host, **({"port": port} if port else {}), **fields)


def login(postern, name, timeout=30):
    """The reply, and how long it took."""
    with Imap(postern.port, timeout=timeout) as client:
        begun = time.monotonic()
        return client.login(name, PASSWORD), time.monotonic() - begun


def status(postern, *words):
    """address:port/protocol -> row."""
    rows = postern.ctl("proxy", "status", *words, form="json").json()
    return {f"{row['address']}:{row['port']}/{row['protocol']}": row for row in rows}


def state(postern, port, host="127.0.0.1", protocol="imap"):
    return status(postern).get(f"{host}:{port}/{protocol}", {}).get("state")


class Switch:
    """A backend on one port that can be taken away and brought back."""

    def __init__(self, address="127.0.0.1", port=None):
        self.address, self.port, self._listener = address, port or free_port(), None
        self.logins, self.connections = [], 0

    def on(self, talk=None):
        self._listener = socket.create_server((self.address, self.port), backlog=128)
        threading.Thread(target=self._accept, args=(self._listener, talk or self._serve), daemon=True).start()
        return self

    def off(self):
        if self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        return self

    def _accept(self, listener, talk):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(60)
            threading.Thread(target=self._run, args=(connection, talk), daemon=True).start()

    def _run(self, connection, talk):
        self.received = bytearray()
        try:
            talk(fakes.Talk(self, connection))
        except (OSError, EOFError):
            pass
        connection.close()

    def _serve(self, talk):
        talk.send(fakes.GREETING)
        while True:
            tag, _, rest = talk.line().rstrip(b"\r\n").partition(b" ")
            if rest.upper().startswith(b"LOGIN"):
                self.logins.append(rest.split(b" ")[1].strip(b'"').decode())
            talk.send(tag + b" OK done\r\n")


@pytest.fixture
def switch():
    made = []

    def make(*arguments):
        made.append(Switch(*arguments))
        return made[-1]
    yield make
    for one in made:
        one.off()


class Hole:
    """A port whose queue is full: Linux leaves further SYNs unanswered."""

    def __init__(self):
        self._full = socket.socket()
        self._full.bind(("127.0.0.1", 0))
        self._full.listen(0)
        self.port = self._full.getsockname()[1]
        self._fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self._full.getsockname())
            self._fillers.append(filler)

    def close(self):
        for one in [*self._fillers, self._full]:
            one.close()


@pytest.fixture
def hole():
    one = Hole()
    yield one
    one.close()


class TestBreaker:
    @pytest.mark.parametrize("service", [{"service_count": "0", "client_limit": "100", "process_min_avail": "2", "process_limit": "2"},
                                         {"service_count": "1", "client_limit": "1", "process_limit": "100"}],
                             ids=["two-processes", "process-a-client"])
    def test_it_opens_for_all_processes_probes_and_recovers_T_BCK_05(self, postern, switch, service):
        dead, live = switch(), switch().on()
        postern.service = service
        postern.settings["login_proxy_max_reconnects"] = "0"
        add(postern, "dead", "127.0.0.1", dead.port)
        add(postern, "live", "127.0.0.1", live.port)
        postern.start()
        for _ in range(5):
            assert login(postern, "dead")[0] == UNAVAILABLE
        line = postern.wait_log(rf"master: Warning: imap backend 127\.0\.0\.1:{dead.port} is down after 5 failures in a row: "
                                r"connect\(.*Connection refused")
        assert PASSWORD not in line
        row = status(postern)[f"127.0.0.1:{dead.port}/imap"]
        assert row["state"] in ("down", "probing") and int(row["failures"]) >= 5 and "Connection refused" in row["error"]
        # Whatever process they come to, all but one a second fail without a connection.
        begun = time.monotonic()
        held = [Imap(postern.port) for _ in range(20)]
        for client in held:
            assert client.login("dead", PASSWORD) == UNAVAILABLE
            client.close()
        seconds = time.monotonic() - begun

        def count(text):
            return sum("imap-login: Error: proxy(dead," in line and text in line for line in postern.log_text().splitlines())
        wait_for("the lines of 25 logins", lambda: count("") == 25)
        refused, tried = count("): Host has been down for "), count("failed: Connection refused")
        assert refused + tried == 25 and 5 <= tried <= 5 + seconds + 2, (refused, tried, seconds)
        # A dead backend is nobody else's trouble.
        assert login(postern, "live")[0].startswith("OK ")
        assert state(postern, live.port) in ("up", None), "None: who knew it has ended"
        dead.on()
        wait_for("a probe to succeed", lambda: login(postern, "dead")[0].startswith("OK "), 10, 0.3)
        postern.wait_log(rf"master: Info: imap backend 127\.0\.0\.1:{dead.port} works again after \d+ secs")
        assert state(postern, dead.port) == "up"
        assert all(login(postern, "dead")[0].startswith("OK ") for _ in range(6)), "up is up for all"

    def test_a_black_hole_is_left_alone_after_the_patience_of_the_passdb(self, postern, hole):
        """Recorded: proxy-host-down-fast-fail. Its log's text is Dovecot 2.4's."""
        postern.settings["login_proxy_max_reconnects"] = "0"
        query = postern.passdbs["users"]["password_query"]
        postern.passdbs["users"]["password_query"] = query.replace("SELECT password", "SELECT password, '1s' AS "
                                                                   "proxy_host_immediate_failure_after")
        add(postern, "u1", "127.0.0.1", hole.port, proxy_timeout="3")
        postern.start()
        assert login(postern, "u1")[0] == UNAVAILABLE
        with Imap(postern.port) as waiting:
            waiting.send(f"b LOGIN u1 {PASSWORD}\r\n")
            time.sleep(0.5)
            reply, seconds = login(postern, "u1")
            assert reply == UNAVAILABLE and seconds < 1
            assert waiting.answer("b")[-1] == "b " + UNAVAILABLE
        def errors():
            return [line for line in postern.log_text().splitlines() if "imap-login: Error: " in line]
        wait_for("the lines of three logins", lambda: len(errors()) == 3)
        lines = errors()
        assert sum("failed: Connection timed out" in line for line in lines) == 2
        assert sum("): Host has been down for " in line for line in lines) == 1

    def test_refused_passwords_are_no_failures(self, postern, backend):
        postern.settings["login_proxy_max_reconnects"] = "0"
        add(postern, "nobody-there", "127.0.0.1", backend.port)
        postern.start()
        for _ in range(7):
            assert login(postern, "nobody-there")[0] == "NO [AUTHENTICATIONFAILED] Authentication failed."
        row = status(postern)[f"127.0.0.1:{backend.port}/imap"]
        assert (row["state"], row["failures"], row["error"]) == ("up", "0", "")

    def test_each_protocol_of_an_address_has_its_own(self, postern, switch):
        postern.settings |= {"protocols": "imap pop3", "login_proxy_max_reconnects": "0"}
        dead = switch()
        add(postern, "u1", "127.0.0.1", dead.port)
        postern.start()
        for _ in range(5):
            login(postern, "u1")
        wait_for("imap to be down", lambda: state(postern, dead.port) == "down")
        with Pop3(postern.pop3_port) as client:
            client.command("USER u1")
            assert client.command(f"PASS {PASSWORD}").startswith("-ERR [SYS/TEMP]")
        assert status(postern)[f"127.0.0.1:{dead.port}/pop3"]["state"] == "up"

    def test_0_switches_counting_off(self, postern, switch):
        postern.settings |= {"proxy_down_failures": "0", "login_proxy_max_reconnects": "0"}
        dead = switch()
        add(postern, "u1", "127.0.0.1", dead.port)
        postern.start()
        for _ in range(8):
            login(postern, "u1")
        assert state(postern, dead.port) == "up"
        assert postern.log_text().count("failed: Connection refused") == 8


class TestCrowding:
    def test_those_who_wait_for_a_dead_backend_leave_room_T_BCK_06(self, postern, hole, switch):
        """A process for each client, ten of them: at most five may wait for one backend."""
        live = switch().on()
        postern.service = {"service_count": "1", "client_limit": "1", "process_limit": "10"}
        add(postern, "dead", "127.0.0.1", hole.port, proxy_timeout="20")
        add(postern, "live", "127.0.0.1", live.port)
        postern.start()
        waiting = [Imap(postern.port, timeout=40) for _ in range(5)]
        for client in waiting:
            client.send(f"a LOGIN dead {PASSWORD}\r\n")
        postern.wait_log(rf"master: Warning: 5 logins wait for imap backend 127\.0\.0\.1:{hole.port}: no more for now", 15)
        row = status(postern)[f"127.0.0.1:{hole.port}/imap"]
        assert (row["state"], row["pending"]) == ("full", "5")
        reply, seconds = login(postern, "dead")
        assert reply == UNAVAILABLE and seconds < 3
        postern.wait_log(r"\): Too many logins wait for this host: user=<dead>")
        assert login(postern, "live")[0].startswith("OK ")
        for client in waiting:
            client.close()

    def test_so_many_may_wait_in_a_process_T_BCK_06(self, postern, fake_backend, switch):
        silent, live = fake_backend(fakes.silent), switch().on()
        postern.settings["proxy_max_pending"] = "3"
        add(postern, "dead", "127.0.0.1", silent.port, proxy_timeout="20")
        add(postern, "live", "127.0.0.1", live.port)
        postern.service |= {"process_limit": "1"}
        postern.start()
        waiting = [Imap(postern.port, timeout=40) for _ in range(3)]
        for client in waiting:
            client.send(f"a LOGIN dead {PASSWORD}\r\n")
        wait_for("three to wait", lambda: silent.connections == 3)
        reply, seconds = login(postern, "dead")
        assert reply == UNAVAILABLE and seconds < 3 and silent.connections == 3
        assert login(postern, "live")[0].startswith("OK ")
        for client in waiting:
            client.close()


class TestSeveralHosts:
    def test_the_next_host_is_taken_when_one_cannot_be_reached(self, postern, switch):
        dead, live = switch(), switch("127.0.0.2").on()
        postern.settings["proxy_failover"] = "yes"
        add(postern, "u1", f"127.0.0.1:{dead.port},127.0.0.2:{live.port}")
        postern.start()
        reply, seconds = login(postern, "u1")
        assert reply.startswith("OK ") and seconds < 1
        postern.wait_log(r"proxy\(u1,127\.0\.0\.2:\d+\): Started proxying to <127\.0\.0\.2>")
        assert status(postern)[f"127.0.0.1:{dead.port}/imap"]["failures"] == "1"

    def test_without_failover_the_mailbox_is_not_opened_elsewhere(self, postern, switch):
        dead, live = switch(), switch("127.0.0.2").on()
        postern.settings["login_proxy_max_reconnects"] = "0"
        add(postern, "u1", f"127.0.0.1:{dead.port},127.0.0.2:{live.port}")
        postern.start()
        assert login(postern, "u1")[0] == UNAVAILABLE
        assert live.connections == 0

    def test_a_refused_password_is_not_tried_at_the_next(self, postern, backend, switch):
        live = switch("127.0.0.2").on()
        postern.settings["proxy_failover"] = "yes"
        add(postern, "nobody-there", f"127.0.0.1:{backend.port},127.0.0.2:{live.port}")
        postern.start()
        assert login(postern, "nobody-there")[0] == "NO [AUTHENTICATIONFAILED] Authentication failed."
        assert live.connections == 0

    def test_each_host_of_a_list_is_known_by_its_own_name(self, postern, fake_backend, authority):
        import ssl
        postern.settings |= {"ssl_client_ca_file": str(authority.cert), "proxy_failover": "yes"}
        pair = authority.issue("list-localhost", ["localhost"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        backend = fake_backend(fakes.serve, context)
        add(postern, "u1", f"127.0.0.1:{free_port()},localhost:{backend.port}", ssl="yes")
        postern.start()
        assert login(postern, "u1")[0].startswith("OK "), "the certificate is localhost's"
        postern.wait_log(r"Started proxying to <127\.0\.0\.1> \(<localhost>\)")

    def test_a_user_stays_with_one_host_in_all_processes_and_after_a_restart(self, postern, switch):
        hosts = [switch(f"127.0.0.{i}").on() for i in (1, 2, 3)]
        postern.settings["proxy_balance"] = "hash"
        postern.service |= {"process_min_avail": "2", "process_limit": "2"}
        names = [f"user{i}" for i in range(12)]
        for name in names:
            add(postern, name, ",".join(f"{h.address}:{h.port}*{1 + i}" for i, h in enumerate(hosts)))
        postern.start()

        def places():
            found = {}
            for name in names:
                before = [len(h.logins) for h in hosts]
                assert login(postern, name)[0].startswith("OK ")
                found[name] = next(i for i, h in enumerate(hosts) if len(h.logins) > before[i])
            return found
        first = places()
        assert len(set(first.values())) > 1, "not all at one"
        assert places() == first
        assert not postern.stop()
        postern.start()
        assert places() == first

    def test_a_host_that_is_down_is_passed_over_and_only_its_users_move(self, postern, switch):
        hosts = [switch(f"127.0.0.{i}").on() for i in (1, 2, 3)]
        postern.settings |= {"proxy_balance": "hash", "proxy_failover": "yes", "login_proxy_max_reconnects": "0"}
        names = [f"user{i}" for i in range(12)]
        for name in names:
            add(postern, name, ",".join(f"{h.address}:{h.port}" for h in hosts))
        postern.start()
        for name in names:
            assert login(postern, name)[0].startswith("OK ")
        before = [set(h.logins) for h in hosts]
        gone = max(range(3), key=lambda i: len(before[i]))
        hosts[gone].off()
        for _ in range(2):
            for name in names:
                assert login(postern, name)[0].startswith("OK "), name
        assert all(before[i] <= set(h.logins) for i, h in enumerate(hosts) if i != gone)
        stayed = {name for i, h in enumerate(hosts) if i != gone for name in h.logins}
        assert stayed == set(names)
        for i, h in enumerate(hosts):
            if i != gone:
                others = set().union(*(before[k] for k in range(3) if k not in (i, gone)))
                assert not others & set(h.logins), "a user of a live host has moved"


class TestByHand:
    def test_status_adds_up_all_processes_and_protocols(self, postern, user, backend):
        postern.service |= {"process_min_avail": "2", "process_limit": "2"}
        name, password = user()
        postern.start()
        held = [Imap(postern.port) for _ in range(6)]
        for client in held:
            assert client.login(name, password).startswith("OK ")
        row = status(postern)[f"127.0.0.1:{backend.port}/imap"]
        assert {k: row[k] for k in ("state", "failures", "pending", "sessions", "logins", "since", "error")} == {
            "state": "up", "failures": "0", "pending": "0", "sessions": "6", "logins": "6", "since": "", "error": ""}
        assert status(postern, "127.0.0.1") and not status(postern, "192.0.2.0/24")
        assert postern.ctl("proxy", "status", "nonsense").code == 2
        table = postern.ctl("proxy", "status")
        assert table.code == 0 and table.out.split("\n")[0].split()[:4] == ["address", "port", "proto", "state"]
        assert postern.ctl("proxy", "status", form="tab").out.split("\n")[1].split("\t")[:4] == [
            "127.0.0.1", str(backend.port), "imap", "up"]
        for client in held:
            client.close()
        wait_for("the sessions to go", lambda: status(postern)[f"127.0.0.1:{backend.port}/imap"]["sessions"] == "0")

    @pytest.mark.parametrize("service", [{}, {"service_count": "1", "client_limit": "1", "process_limit": "100"}],
                             ids=["shared", "process-a-client"])
    def test_a_disabled_backend_gets_no_logins_and_keeps_its_sessions(self, postern, switch, service):
        one, other = switch().on(), switch("127.0.0.2").on()
        postern.settings["proxy_failover"] = "yes"
        postern.service |= service
        add(postern, "alone", "127.0.0.1", one.port)
        add(postern, "both", f"127.0.0.1:{one.port},127.0.0.2:{other.port}")
        postern.start()
        with Imap(postern.port) as held:
            assert held.login("alone", PASSWORD).startswith("OK ")
            assert postern.ctl("proxy", "disable", f"127.0.0.1:{one.port}").code == 0
            row = status(postern)[f"127.0.0.1:{one.port}/imap"]
            assert row["state"] == "disabled" and row["sessions"] == "1"
            assert login(postern, "alone")[0] == UNAVAILABLE
            postern.wait_log(r"\): Host is disabled \(posternctl proxy disable\): user=<alone>")
            assert login(postern, "both")[0].startswith("OK ")
            assert other.logins == ["both"]
            assert " OK " in held.command("NOOP")[-1]
            assert postern.ctl("reload").code == 0
            assert login(postern, "alone")[0] == UNAVAILABLE, "a reload changes nothing"
            assert postern.ctl("proxy", "enable", "127.0.0.1").code == 68, "only a port was disabled"
            assert postern.ctl("proxy", "enable", f"127.0.0.1:{one.port}").code == 0
            assert login(postern, "alone")[0].startswith("OK ")
            assert " OK " in held.command("NOOP")[-1]
        assert postern.ctl("proxy", "disable", "127.0.0.1", "[::1]:143").code == 0
        rows = status(postern)
        assert rows["::1:143/*"]["state"] == "disabled"
        assert login(postern, "both")[0].startswith("OK ") and other.logins == ["both", "both"]
        for words in (["127.0.0.1:0"], ["host.example"], [""], ["127.0.0.1,127.0.0.2"], ["127.0.0.1*2"], []):
            assert postern.ctl("proxy", "disable", *words).code == 2, words

    def test_pending_logins_are_kicked_as_well(self, postern, fake_backend):
        silent = fake_backend(fakes.silent)
        add(postern, "u1", "127.0.0.1", silent.port)
        postern.start()
        with Imap(postern.port) as waiting, Imap(postern.port) as idle:
            waiting.send(f"a LOGIN u1 {PASSWORD}\r\n")
            wait_for("it to wait", lambda: silent.connections == 1)
            wait_for("it to be seen", lambda: any(row.get("dest-ip") for row in postern.ctl("who", "-1", "--pre-login", form="json").json()))
            kicked = postern.ctl("proxy", "kick", "u1")
            assert (kicked.code, kicked.out) == (0, "1 connections kicked\n")
            assert waiting.at_end()
            assert " OK " in idle.command("NOOP")[-1]
        postern.wait_log(r"proxy\(u1,127\.0\.0\.1:\d+\): Disconnected by proxy: Kicked by admin")

    def test_kick_picks_by_user_backend_session_and_address_and_counts_all_processes(self, postern, switch):
        one, other = switch().on(), switch("127.0.0.2").on()
        postern.service = {"service_count": "1", "client_limit": "1", "process_limit": "100"}
        for name in ("ann", "anton", "bob"):
            add(postern, name, "127.0.0.1", one.port)
        add(postern, "cid", "127.0.0.2", other.port)
        postern.start()

        def hold(name):
            client = Imap(postern.port)
            assert client.login(name, PASSWORD).startswith("OK ")
            return client
        held = [hold(name) for name in ("ann", "anton", "bob", "bob", "cid")]
        assert postern.ctl("proxy", "kick", "an*").out == "2 connections kicked\n"
        assert held[0].at_end() and held[1].at_end()
        assert postern.ctl("proxy", "kick", "--dest-ip", "127.0.0.2").out == "1 connections kicked\n"
        assert held[4].at_end()
        rows = postern.ctl("proxy", "list", form="json").json()
        assert postern.ctl("proxy", "kick", "--session", rows[0]["session"]).out == "1 connections kicked\n"
        assert postern.ctl("proxy", "kick", "127.0.0.0/8").out == "1 connections kicked\n"
        assert postern.ctl("proxy", "kick", "127.0.0.0/8").code == 68


def test_a_user_moves_to_another_backend(postern, user, backend, directory, authority):
    """doc/manual.md, "Moving users": set host and delay_until, kick; a login meanwhile waits and goes to the new host."""
    from harness.dovecot import Dovecot
    new = Dovecot(directory / "new-backend", authority.issue("backend", ["127.0.0.1"]))
    name, password = user()
    new.add_user(name, password)
    new.start()
    try:
        db = sqlite3.connect(postern.database)
        db.execute("ALTER TABLE users ADD COLUMN delay_until TEXT")
        db.commit()
        query = postern.passdbs["users"]["password_query"]
        postern.passdbs["users"]["password_query"] = query.replace("SELECT password", "SELECT password, delay_until")
        postern.start()
        with Imap(postern.port) as session:
            assert session.login(name, password).startswith("OK ")
            db.execute("UPDATE users SET port = ?, delay_until = strftime('%s', 'now') + 4 WHERE user = ?", (str(new.port), name))
            db.commit()
            begun = time.monotonic()
            with Imap(postern.port) as meanwhile:
                meanwhile.send(f"a LOGIN {name} {password}\r\n")
                assert postern.ctl("proxy", "kick", name).out == "1 connections kicked\n"
                assert session.at_end()
                lines = meanwhile.answer("a")
                assert lines[-1].startswith("a OK "), lines
                assert 2 < time.monotonic() - begun < 10
                rows = postern.ctl("proxy", "list", name, form="json").json()
                assert [row["dest-port"] for row in rows] == [str(new.port)]
        assert f"imap-login: Info: Login: user=<{name}>" in new.log_text()
        with Imap(postern.port) as later:
            begun = time.monotonic()
            assert later.login(name, password).startswith("OK ")
            assert time.monotonic() - begun < 2, "the time is over"
    finally:
        db.close()
        new.stop()
