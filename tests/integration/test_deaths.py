"""Processes that die or hang in the middle of things."""
import os
import signal
import threading
import time

from harness.imap import Imap
from harness.postern import build_tree
from harness.procs import alive, descendants, wait_for


def held(postern, user, count):
    """`count` logged-in sessions."""
    name, password = user()
    clients = []
    for _ in range(count):
        client = Imap(postern.port)
        assert client.login(name, password).startswith("OK ")
        clients.append(client)
    return clients


def login_again(postern, name, password, seconds=20):
    """Logs in as soon as it works again."""
    def attempt():
        try:
            with Imap(postern.port, timeout=20) as client:
                return client.login(name, password).startswith("OK ")
        except OSError:
            return False
    wait_for("a login", attempt, seconds, 0.2)


class TestAuth:
    def test_killed_in_the_middle_of_a_login_is_no_wrong_password_T_FAT_01(self, postern, user):
        postern.may_die = True
        name, password = user()
        postern.start()
        pid = postern.pids("auth")[0]
        with Imap(postern.port, timeout=60) as client, Imap(postern.port) as bystander:
            assert bystander.login(name, password).startswith("OK ")
            os.kill(pid, signal.SIGSTOP)
            client.send(f"a LOGIN {name} {password}\r\n")
            time.sleep(0.5)
            os.kill(pid, signal.SIGKILL)
            begun = time.monotonic()
            reply = client.answer("a")[-1]
            assert time.monotonic() - begun < 30
            assert reply.startswith(("a OK ", "a NO [UNAVAILABLE] Temporary authentication failure")), reply
            assert " OK " in bystander.command("NOOP")[-1]
        login_again(postern, name, password)
        assert postern.pids("auth") and pid not in postern.pids("auth")

    def test_killed_between_logins_is_not_noticed_by_the_next_one(self, postern, user):
        postern.may_die = True
        name, password = user()
        postern.start()
        pid = postern.pids("auth")[0]
        os.kill(pid, signal.SIGKILL)
        wait_for("its end", lambda: not alive(pid))
        with Imap(postern.port, timeout=40) as client:
            assert client.login(name, password).startswith("OK ")

    def test_stopped_for_a_while_makes_logins_wait_and_go_on_T_FAT_02(self, postern, user):
        name, password = user()
        postern.start()
        pid = postern.pids("auth")[0]
        with Imap(postern.port, timeout=40) as client, Imap(postern.port) as bystander:
            assert bystander.login(name, password).startswith("OK ")
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(3, os.kill, (pid, signal.SIGCONT)).start()
            with Imap(postern.port) as newcomer:
                assert newcomer.greeting.startswith("* OK ")
            assert " OK " in bystander.command("NOOP")[-1]
            assert client.login(name, password).startswith("OK ")

    def test_a_worker_that_dies_costs_at_most_its_own_login(self, postern, user):
        import crypt
        postern.may_die = True
        stored = "{BLF-CRYPT}" + crypt.crypt("pw-slow-7711", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=2 ** 12))
        name, password = user()
        fast_name, fast_password = user()
        postern.add_user(name, "pw-slow-7711", stored, proxy="y", host="127.0.0.1", port="1")
        postern.start()
        with Imap(postern.port, timeout=60) as client:
            client.send(f"a LOGIN {name} guess-9\r\n")
            worker = wait_for("a worker", lambda: postern.pids("auth-worker"))[0]
            os.kill(worker, signal.SIGKILL)
            reply = client.answer("a")[-1]
            assert "[UNAVAILABLE]" in reply or "[AUTHENTICATIONFAILED]" in reply, reply
        with Imap(postern.port) as client:
            assert client.login(fast_name, fast_password).startswith("OK ")


class TestLoginProcess:
    def test_killed_takes_its_own_sessions_only_and_is_replaced_T_FAT_03(self, postern, user):
        postern.may_die = True
        postern.service |= {"process_min_avail": "2", "process_limit": "2"}
        name, password = user()
        postern.start()
        wait_for("two processes", lambda: len(postern.pids("imap-login")) >= 2)
        clients = held(postern, user, 24)
        owners = {row["session"]: row["pid"] for row in sessions(postern)}
        assert len(set(owners.values())) == 2, "the kernel gave all sessions to one process"
        victim = int(next(iter(owners.values())))
        os.kill(victim, signal.SIGKILL)
        wait_for("its end", lambda: not alive(victim))
        time.sleep(0.3)
        living = 0
        for client in clients:
            try:
                living += " OK " in client.command("NOOP")[-1]
            except OSError:
                pass
            client.close()
        assert living == sum(1 for pid in owners.values() if int(pid) != victim)
        wait_for("a replacement", lambda: len(postern.pids("imap-login")) >= 2)
        login_again(postern, name, password)
        postern.wait_log(rf"service\(imap-login\): child {victim} killed with signal 9")


    def test_a_template_killed_while_it_makes_processes_is_replaced_at_once_T_FAT_03(self, postern, user):
        """It is no failed start of the processes it had been asked for."""
        postern.may_die = True
        name, password = user()
        postern.service = {"service_count": "1", "client_limit": "1", "process_min_avail": "4", "process_limit": "50"}
        postern.start()
        for _ in range(5):
            wait_for("the template and four processes", lambda: len(postern.pids("imap-login")) == 5, 20)
            time.sleep(0.3)
            waiting = [Imap(postern.port, greeting=False) for _ in range(6)]  # so that it is asked for more
            os.kill(postern.pids("imap-login")[0], signal.SIGKILL)
            login_again(postern, name, password)
            for client in waiting:
                client.close()
        assert "startup failed" not in postern.log_text()


def sessions(postern):
    """What the master says of its sessions, by the control protocol."""
    import json
    import socket
    rows = []
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(10)
        control.connect(str(postern.run / "control"))
        control.sendall(b'{"command":"who","args":{}}\n')
        for line in control.makefile("rb"):
            reply = json.loads(line)
            if "end" in reply:
                assert reply["end"]["code"] == 0, reply
                return rows
            rows.append(reply["row"])
    raise AssertionError("the control socket closed without an end")


class TestOthers:
    def test_killing_anvil_disturbs_no_login_T_FAT_04(self, postern, user):
        postern.may_die = True
        name, password = user()
        postern.start()
        with Imap(postern.port) as bystander:
            assert bystander.login(name, password).startswith("OK ")
            os.kill(postern.pids("anvil")[0], signal.SIGKILL)
            with Imap(postern.port, timeout=20) as client:
                assert client.login(name, password).startswith("OK ")
            wait_for("another anvil", lambda: postern.pids("anvil"))
            with Imap(postern.port, timeout=20) as client:
                assert client.login(name, password).startswith("OK ")
            assert " OK " in bystander.command("NOOP")[-1]

    def test_killing_log_loses_no_later_line_T_FAT_05(self, postern, user):
        postern.may_die = True
        name, password = user()
        postern.start()
        os.kill(postern.pids("log")[0], signal.SIGKILL)
        with Imap(postern.port) as client:
            assert client.login(name, password).startswith("OK ")
        wait_for("another log process", lambda: postern.pids("log"))
        postern.wait_log(rf"proxy\({name},.*Started proxying")

    def test_a_stopped_log_process_makes_nobody_wait_T_FAT_05(self, postern, user):
        name, password = user()
        postern.start()
        pid = postern.pids("log")[0]
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(300):
                with Imap(postern.port, timeout=10) as client:
                    client.send("a NOSUCHCOMMAND\r\nb LOGOUT\r\n")
                    assert client.answer("b")
            with Imap(postern.port, timeout=10) as client:
                assert client.login(name, password).startswith("OK ")
        finally:
            os.kill(pid, signal.SIGCONT)

    def test_killing_the_master_lets_sessions_live_and_a_new_one_start_T_FAT_07(self, postern, user):
        postern.may_die = True
        name, password = user()
        postern.start()
        client = Imap(postern.port)
        assert client.login(name, password).startswith("OK ")
        below = descendants(postern.pid)
        os.kill(postern.pid, signal.SIGKILL)
        postern.wait()
        time.sleep(1)
        assert " OK " in client.command("NOOP")[-1]
        postern._child = None
        postern.start()
        with Imap(postern.port) as other:
            assert other.login(name, password).startswith("OK ")
        assert " OK " in client.command("NOOP")[-1]
        client.close()
        wait_for("the old generation's end", lambda: not any(alive(p) for p in below), 30)


class TestStarts:
    def test_one_that_fails_again_and_again_is_slowed_down_and_disturbs_nobody_T_FAT_08(self, postern, user):
        name, password = user()
        postern.start()
        with Imap(postern.port) as held:
            assert held.login(name, password).startswith("OK ")
            # A program that ends at once, where there was a good one.
            (postern.directory / "libexec/auth").unlink()
            (postern.directory / "libexec/auth").symlink_to("/bin/false")
            assert postern.ctl("reload").code == 0
            begun = time.monotonic()
            # Without auth there is no greeting yet.
            with Imap(postern.port, greeting=False, timeout=40) as client:
                postern.wait_log(r"service\(auth\): command startup failed, throttling for 4\.000 secs", 20)
                assert time.monotonic() - begun > 1.5
                assert " OK " in held.command("NOOP")[-1]
                attempts = postern.log_text().count("service(auth): command startup failed")
                assert attempts == postern.log_text().count("returned error 1") == 2, "one line an attempt"
                rows = postern.ctl("service", "status", "auth", form="json").json()
                assert any(row["throttle_secs"] == "4" for row in rows), rows
                # Mended, it works again by itself, and the client that waited gets in.
                (postern.directory / "libexec/auth").unlink()
                (postern.directory / "libexec/auth").symlink_to(build_tree() / "src/auth/auth")
                line = client.line()
                while line.startswith("* OK Waiting for authentication"):
                    line = client.line()
                assert line.startswith("* OK "), line
                assert client.login(name, password).startswith("OK ")
