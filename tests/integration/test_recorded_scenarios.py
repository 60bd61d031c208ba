"""Recordings of Dovecot's proxy with more than one client, with an administrator, or with bytes that are no dialogue: the same is done to a
whole Postern, and what comes of it compared with the recording (tests/transcripts/proxy-*)."""
import collections
import os
import re
import select
import signal
import socket

import pytest

from harness import fake_backend as fakes
from harness.imap import Imap
from harness.postern import ROOT
from harness.procs import wait_for
from harness.proxy_replay import Certificates, compare, serve
from harness.recorded import TRANSCRIPTS, Differences
from harness.recorded_proxy import ProxyTranscript, Side, masked_proxy, same

PASSWORD = "pw-recorded-5c1e"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("recorded-scenarios"))


def recording(name):
    return ProxyTranscript(TRANSCRIPTS / f"proxy-{name}.txt")


def any_user(line):
    """A log line without the numbers that no two runs share; users are kept. Whether reading or writing meets a reset first is chance."""
    return masked_proxy(line, "\0").replace("write(size=N) failed: Connection reset", "read(size=N) failed: Connection reset")


def check_logs(postern, recorded, changed=lambda line: line, looked_at=lambda line: True):
    """The login program's lines about the recorded users are the recorded ones, in any order: several clients are at work. `changed` says
    what Postern logs in place of a recorded line (None for nothing), `looked_at` which of its own lines count."""
    expected = [line for line in map(changed, [any_user(line) for line in recorded.expected_logs() if "user=<" in line]) if line]
    users = {user for line in expected for user in re.findall(r"user=<([^>]+)>", line)}

    def ours():
        lines = [line[16:] for line in postern.log_text().splitlines() if re.match(r".{16}[\w-]+-login: ", line)]
        return [any_user(line) for line in lines if users & set(re.findall(r"user=<([^>]+)>", line)) and looked_at(line)]
    try:
        wait_for("the lines", lambda: collections.Counter(ours()) == collections.Counter(expected), 15, 0.2)
    except AssertionError:
        assert sorted(ours()) == sorted(expected)


def held(postern, *names):
    """Clients that are logged in."""
    clients = []
    for name in names:
        clients.append(Imap(postern.port))
        assert clients[-1].login(name, PASSWORD).startswith("OK ")
    return clients


def fields(recorded, user):
    """Fields of a `# config: USER: …` line."""
    text = (TRANSCRIPTS / recorded.name).read_text()
    found = re.search(rf"^# config: {user}: (.*)$", text, re.M).group(1)
    return dict(word.split("=", 1) for word in found.split() if not word.startswith(("port=", "nopassword=")))


def tables(recorded):
    """The rows of each table that doveadm printed: (command, rows as words)."""
    out = []
    for line in (TRANSCRIPTS / recorded.name).read_text().splitlines():
        line = re.sub(r"^\s*\d+\.\d{3} ", "", line)
        if line.startswith("# $ doveadm "):
            out.append((re.sub(r"\s+\(exit \d+\)$", "", line[12:]), []))
        elif line.startswith("D: ") and out:
            out[-1][1].append(line[3:].split())
    return out


def hold_on(talk):
    """Answers ID, and never LOGIN."""
    talk.send(fakes.GREETING)
    while True:
        tag, _, rest = talk.line().partition(b" ")
        if rest.upper().startswith(b"ID"):
            talk.send(b"* ID NIL\r\n" + tag + b" OK ID completed.\r\n")


class TestAdministrator:
    def test_lists_and_kicks(self, postern, fake_backend):
        recorded, backend, silent = recording("admin-list-kick"), fake_backend(fakes.serve), fake_backend(hold_on)
        postern.passdbs["users"]["password_query"] = postern.passdbs["users"]["password_query"].replace(
            "SELECT password", "SELECT password, CASE user WHEN 'bob' THEN '127.0.0.3' END AS source_ip")
        for name in ("alice", "bob", "carol"):
            given = {key: value for key, value in fields(recorded, name).items() if key not in ("user_alt", "source_ip")}
            postern.add_user(name, PASSWORD, **given | {"port": silent.port if name == "carol" else backend.port})
        postern.start()
        alice, bob = held(postern, "alice", "bob")
        carol = Imap(postern.port)
        carol.send(f"a LOGIN carol {PASSWORD}\r\n")
        wait_for("carol to wait", lambda: silent.connections == 1)
        rows = postern.ctl("proxy", "list", form="json").json()
        theirs = [row for row in tables(recorded)[0][1][1:] if row[0] != "carol"]  # who is not in yet is shown by `who --pre-login` here
        assert {(row["username"], row["service"], row["src-ip"], row["dest-ip"]) for row in rows} == {(row[0], *row[-4:-1]) for row in theirs}
        # Dovecot kicks alice by another name of hers, which is no field here.
        assert postern.ctl("proxy", "kick", "alice").out == "1 connections kicked\n"
        assert alice.at_end()
        assert " OK " in bob.command("NOOP")[-1]
        again, = held(postern, "alice")
        kicks = {"proxy kick bob": ["bob"], "proxy kick carol": ["carol"], "proxy kick -h 127.0.0.1": ["--dest-ip", "127.0.0.1"]}
        for command, rows in tables(recorded):
            if command in kicks:
                assert postern.ctl("proxy", "kick", *kicks[command]).out == " ".join(rows[0]) + "\n", command
        assert postern.ctl("kick", "alice").code == 68, "as recorded where doveadm does not know proxied sessions"
        for client in (again, bob, carol):
            assert client.at_end()
        assert postern.ctl("proxy", "list", form="json").json() == []
        check_logs(postern, recorded)

    def test_counts_the_sessions_of_all_processes(self, postern, fake_backend):
        recorded, backend = recording("admin-many-processes"), fake_backend(fakes.serve)
        postern.service = {"service_count": "1", "client_limit": "1", "process_limit": "20"}
        for name in ("dave", "erin"):
            postern.add_user(name, PASSWORD, proxy="y", host="127.0.0.1", port=backend.port)
        postern.start()
        *daves, erin = held(postern, "dave", "dave", "dave", "erin")
        (_, listed), (_, kicked), (_, left) = tables(recorded)
        rows = [row["username"] for row in postern.ctl("proxy", "list", form="json").json()]
        assert sorted(rows) == sorted(row[0] for row in listed if row[0] != "username")  # one heading here, one a process there
        assert " ".join(kicked[0]) == "1 connections kicked", "of one process; here all are counted"
        assert postern.ctl("proxy", "kick", "dave").out == "3 connections kicked\n"
        for client in daves:
            assert client.at_end()
        assert " OK " in erin.command("NOOP")[-1]
        assert [row["username"] for row in postern.ctl("proxy", "list", form="json").json()] == [left[1][0]]
        erin_leaves = "imap-login: Info: proxy(erin,127.0.0.1:N): Disconnected"
        check_logs(postern, recorded, lambda line: None if line.startswith(erin_leaves) else line)

    def test_a_reload_leaves_sessions_alone(self, postern, fake_backend):
        """Dovecot ends them (shutdown_clients = yes); here they outlive it."""
        recorded, backend = recording("reload"), fake_backend(fakes.serve)
        postern.add_user("alice", PASSWORD, proxy="y", host="127.0.0.1", port=backend.port)
        postern.start()
        alice, = held(postern, "alice")
        os.kill(postern.pid, signal.SIGHUP)
        postern.wait_log(re.escape(of_master(recorded)))
        postern.wait_log("Configuration reloaded")
        again, = held(postern, "alice")  # by a process with the new configuration
        assert " OK " in alice.command("NOOP")[-1]
        started = next(line for line in recorded.logs if "Started proxying" in line)
        assert [any_user(line) for line in logged(postern, "alice")] == [any_user(started)] * 2
        again.close()

    def test_a_stop_ends_sessions(self, postern, fake_backend):
        recorded, backend = recording("shutdown-kill-idle"), fake_backend(fakes.serve)
        postern.add_user("alice", PASSWORD, proxy="y", host="127.0.0.1", port=backend.port)
        postern.start()
        alice, = held(postern, "alice")
        os.kill(postern.pid, signal.SIGTERM)
        assert alice.at_end()
        check_logs(postern, recorded)
        postern.wait_log(re.escape(of_master(recorded).partition(" (by pid")[0]))  # who sent it is not told here


def of_master(recorded):
    """What the recorded master said."""
    return next(line for line in (TRANSCRIPTS / recorded.name).read_text().splitlines() if line.startswith("LOG master: "))[12:].partition(": ")[2]


def logged(postern, user):
    return [line[16:] for line in postern.log_text().splitlines() if f"user=<{user}>" in line and "-login: " in line]


class TestSharedProcess:
    """What ended Dovecot's process ends one login here; the others of the process go on."""

    @pytest.mark.parametrize("name", ["imap-crash-shared", "submission-crash-shared"])
    def test_the_others_live_on(self, postern, certificates, fake_backend, name):
        recorded, differences, backend = recording(name), Differences(), fake_backend(fakes.serve)
        listeners = serve(postern, certificates, [recorded], f"vic:::::::proxy=y host=127.0.0.1 port={backend.port} nopassword=y\n")
        vic, = held(postern, "vic")
        before = postern.pids(recorded.program)
        wrong = compare(postern, certificates, differences, recorded, listeners[recorded.name])
        assert not wrong, "\n".join(wrong)
        assert not differences.stale_of_proxy(recorded.name)
        assert " OK " in vic.command("NOOP")[-1] and postern.pids(recorded.program) == before


class TestBackends:
    def test_a_host_that_is_down_is_left_alone_while_another_tries_it(self, postern, certificates):
        recorded = recording("host-down-fast-fail")
        listeners = serve(postern, certificates, [recorded], full=True)
        replies = {event.data[:1]: event.data for event in recorded.events if event.kind == "server"}
        commands = {event.data[:1]: event.data for event in recorded.events if event.kind == "client"}

        def begin(which):
            client = Imap(postern.port)
            client.send(commands[which] + "\r\n")
            return client
        first = begin("A")
        assert first.line() == replies["A"]
        second = begin("B")
        wait_for("it to try", lambda: second_tries(postern), 10)
        third = begin("C")
        assert third.line() == replies["C"]
        assert not select.select([second.socket], [], [], 0)[0], "the second is still waiting"
        assert second.line() == replies["B"]
        for client in (first, second, third):
            client.close()
        postern.wait_log(r"Host has been down for \d+ secs \(last success was \d+\): user=<u-host-down-fast-fail>")  # Dovecot 2.4's words
        check_logs(postern, recorded, lambda line: None if "): Host is down: " in line else line, lambda line: "Host has been down" not in line)
        listeners[recorded.name].close()

    def test_a_backends_end_is_spread_over_the_delay(self, postern, certificates):
        recorded = recording("max-disconnect-delay")
        listener = serve(postern, certificates, [recorded])[recorded.name]
        count = recorded.sources().__len__()
        clients, backends = [], []
        for number in range(count):
            clients.append(Imap(postern.port))
            clients[-1].send(f"a LOGIN {recorded.user} x\r\n")
            backends.append(Side(listener.accept()[0]))
            self.let_in(recorded, number, backends[-1])
            assert clients[-1].answer("a")[-1].startswith("a OK ")
        for backend in backends:
            backend.close()
        assert all(client.at_end() for client in clients)
        check_logs(postern, recorded)
        delays = [int(found) for line in logged(postern, recorded.user) for found in re.findall(r"disconnecting client in (\d+)ms", line)]
        assert delays == sorted(delays) and delays[-1] <= 5100 and delays[0] >= 500
        listener.close()

    @staticmethod
    def let_in(recorded, number, backend):
        """The dialogue of one recorded connection."""
        at = [i for i, event in enumerate(recorded.events) if event.kind == "accept"][number]
        for event in recorded.events[at + 1:]:
            if event.kind == "accept":
                return
            if event.kind == "backend":
                backend.send([event.data])
            elif event.kind == "to_backend":
                line = backend.line()
                assert same(line, event.data), (line, event.data)

    def test_tls_with_a_backend_that_speaks_none(self, postern, certificates, fake_backend):
        recorded = recording("imap-ssl-to-plain")

        def greet(talk):
            talk.send(fakes.GREETING)
            talk.line()
        self.play_client(postern, certificates, recorded, fake_backend(greet))
        check_logs(postern, recorded, lambda line: line.replace("Aborting due to internal error: ", "Aborting due to remote server: "))

    def test_ssl_no_means_no_tls(self, postern, certificates, fake_backend):
        """Dovecot begins TLS all the same."""
        recorded = recording("imap-ssl-no")
        self.play_client(postern, certificates, recorded, fake_backend(fakes.serve), good=True)
        postern.wait_log(rf"Warning: Passdb field ssl=no is taken as no TLS to the backend: user=<{recorded.user}>")

    def test_ssl_client_ca_file_is_heeded(self, postern, certificates, fake_backend):
        """Dovecot's login processes ignore it, and trust nobody."""
        recorded = recording("tls-client-ca-file-ignored")
        assert "ssl_client_ca_file" in recorded.settings
        backend = fake_backend(fakes.serve, certificates.context(recorded))
        self.play_client(postern, certificates, recorded, backend, good=True)

    @staticmethod
    def play_client(postern, certificates, recorded, backend, good=False):
        """The client's side of the recording, or a login that succeeds where the recorded one did not."""
        serve(postern, certificates, [recorded], f"{recorded.user}:::::::" + re.sub(r"port=\d+", f"port={backend.port}", recorded.fields) + "\n", only=True)
        client = Imap(postern.port, greeting=False)
        for event in recorded.events:
            if event.kind == "client":
                client.send(event.data + "\r\n")
            elif event.kind == "server":
                expected = Differences().lines(recorded.name, ["S: " + event.data])[0][3:]
                line = client.line()
                if good and event.data.startswith("a "):
                    assert line.startswith("a OK "), line
                    return
                assert same(line, expected), (line, expected)

    def test_a_proxy_that_is_its_own_backend_and_says_so(self, postern, certificates, fake_backend):
        """With another user the recorded proxy did not see the loop; here it takes proxy_allow_self to get so far."""
        recorded = recording("imap-loop-self-destuser")
        inner = re.search(r"destuser=(\S+)", recorded.fields).group(1)

        def refuse(talk):
            talk.send(fakes.GREETING)
            while True:
                tag, _, rest = talk.line().partition(b" ")
                talk.send(tag + (b" NO [LIMIT] Too many sessions for you\r\n" if rest.startswith(b"LOGIN") else b" OK\r\n"))
        users = f"{inner}:{{PLAIN}}clientpass::::::proxy=y host=127.0.0.1 port={fake_backend(refuse).port}\n"
        serve(postern, certificates, [recorded], users, proxy_allow_self="yes")
        client = Imap(postern.port, greeting=False)
        for event in recorded.events:
            if event.kind == "client":
                client.send(event.data + "\r\n")
            elif event.kind == "server":
                line = client.line()
                assert same(line, event.data), (line, event.data)
        client.close()
        check_logs(postern, recorded)


def second_tries(postern):
    return any(row["username"] and "host-down" in row["username"] for row in postern.ctl("who", "-1", "--pre-login", form="json").json())


class TestRelay:
    """Recordings of sessions whose one side does not read: the numbers differ, the words do not."""

    def session(self, postern, certificates, recorded):
        listener = serve(postern, certificates, [recorded])[recorded.name]
        client = Side(socket.create_connection(("127.0.0.1", postern.port), 30))
        client.line()
        client.send([next(event.data for event in recorded.events if event.kind == "client")])
        backend = Side(listener.accept()[0])
        TestBackends.let_in(recorded, 0, Side(backend.socket))
        assert client.line() == "a OK in"
        return client, backend

    @staticmethod
    def flood(to):
        """Sends until nothing is taken any more; how much it was."""
        sent = 0
        to.socket.setblocking(False)
        while select.select([], [to.socket], [], 1.0)[1]:
            sent += to.socket.send(b"x" * 65536)
        return sent

    def test_a_client_that_does_not_read(self, postern, certificates):
        recorded = recording("relay-backpressure")
        client, backend = self.session(postern, certificates, recorded)
        limit = int(re.search(r"backend could write (\d+) bytes", "".join(recorded.remarks)).group(1))
        assert self.flood(backend) < 4 * limit
        client.close()
        check_logs(postern, recorded)

    def test_a_backend_that_does_not_read(self, postern, certificates):
        recorded = recording("relay-backpressure-up")
        client, backend = self.session(postern, certificates, recorded)
        limit = int(re.search(r"client could write (\d+) bytes", "".join(recorded.remarks)).group(1))
        assert self.flood(client) < 4 * limit
        backend.close(abruptly=True)
        check_logs(postern, recorded)


class TestFiles:
    def test_the_raw_log_has_the_recorded_lines(self, postern, certificates):
        recorded, differences = recording("rawlog"), Differences()
        raw = postern.run / "empty" / "rawlog"
        raw.mkdir(parents=True)
        raw.chmod(0o777)
        listeners = serve(postern, certificates, [recorded], login_proxy_rawlog_dir="rawlog", proxy_rawlog_secrets="yes")
        wrong = compare(postern, certificates, differences, recorded, listeners[recorded.name])
        assert not wrong, "\n".join(wrong)
        for remark in recorded.remarks:
            found = re.match(r"rawlog file \S+(\.in|\.out): '(.*)'$", remark)
            if found:
                lines = [re.sub(r"^\d{10}\.\d{6} ", "", line) for line in found.group(2).split(r"\n") if line]
                path, = raw.glob("*" + found.group(1))
                ours = path.read_text().splitlines()
                assert all(re.match(r"\d{10}\.\d{6} ", line) for line in ours)
                ours = [line[18:] for line in ours]
                assert len(ours) == len(lines) and all(same(line, theirs) for line, theirs in zip(ours, lines)), (ours, lines)

    def test_a_missing_notify_fifo(self, postern, certificates):
        recorded, differences = recording("notify"), Differences()
        listeners = serve(postern, certificates, [recorded])
        wrong = compare(postern, certificates, differences, recorded, listeners[recorded.name],
                        before_the_end=lambda: postern.wait_log(r"open\(proxy-notify\) failed", 30))
        assert not wrong, "\n".join(wrong)


def test_nobody_is_believed_who_is_not_trusted(postern, certificates):
    recorded = recording("untrusted-forwarding")
    serve(postern, certificates, [recorded])
    ports = iter({"submission-login": postern.submission_port, "pop3-login": postern.pop3_port, "managesieve-login": postern.sieve_port,
                  "imap-login": postern.port}[line.partition(":")[0]] for line in recorded.logs)
    differences, client = Differences(), None
    groups = differences.apply(recorded.name, [event._replace(data=[event.data]) if event.kind == "server" else event for event in recorded.events])
    for event in groups:
        if client is None:
            client = Side(socket.create_connection(("127.0.0.1", next(ports)), 30))
        if event.kind == "client":
            client.send([event.data])
        elif event.kind == "server":
            for expected in event.data:
                line = client.line()
                assert same(line, expected), (line, expected)
        elif event.kind == "end":
            assert client.line() is None
            client = None
    expected = [any_user(line) for line in recorded.logs]
    wait_for("the lines", lambda: all(line in map(any_user, [ours[16:] for ours in postern.log_text().splitlines()]) for line in expected), 15)


def test_every_recording_is_used():
    """Clients' and backends' recordings are found by their names; those of auth, and those that are not played, by whoever names them."""
    sources = "".join(path.read_text(errors="replace") for folder in ("unit", "integration") for path in (ROOT / "tests" / folder).rglob("*")
                      if path.suffix in (".cc", ".py"))
    differences, unused = Differences(), []
    for path in TRANSCRIPTS.glob("*.txt"):
        played = path.name.startswith(("imap-", "pop3-", "submission-", "managesieve-")) or path.name == "differences.txt"
        played |= path.name.startswith("proxy-") and differences.left_out(path.name) is None
        names = (path.stem, '"' + path.stem.partition("-")[2] + '"')
        if not played and not any(name in sources for name in names):
            unused.append(path.name)
    assert not unused, unused
    missing = [row[0] for row in differences.rows if row[0].startswith("proxy-") and not (TRANSCRIPTS / row[0]).exists()]
    assert not missing, missing
