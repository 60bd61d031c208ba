"""SIGHUP and `posternctl reload`."""
import os
import pathlib
import signal
import socket
import threading
import time

import pytest

from harness.imap import Imap
from harness.procs import alive, free_port, wait_for


def greeting(postern):
    with Imap(postern.port) as client:
        return client.greeting


def test_a_reload_takes_the_new_settings_and_ends_no_session(postern, user):
    name, password = user()
    postern.start()
    with Imap(postern.port) as client:
        assert client.login(name, password).startswith("OK ")
        postern.settings["login_greeting"] = "Second edition."
        postern.write_configuration()
        done = postern.ctl("reload")
        assert done.code == 0, done.err
        wait_for("the new greeting", lambda: greeting(postern).endswith("Second edition."))
        time.sleep(3)
        assert " OK " in client.command("NOOP")[-1]


def test_sighup_does_the_same(postern):
    postern.start()
    postern.settings["login_greeting"] = "By signal."
    postern.write_configuration()
    os.kill(postern.pid, signal.SIGHUP)
    wait_for("the new greeting", lambda: greeting(postern).endswith("By signal."))


def test_a_broken_file_is_refused_whole_and_the_old_one_goes_on_T_FAT_09(postern, user):
    name, password = user()
    postern.start()
    with Imap(postern.port) as held:
        assert held.login(name, password).startswith("OK ")
        postern.conf.write_text(postern.configuration().replace("Postern", "Postern")
                                + "\n[service imap-login]\nlogin_greting = x\n\n[nonsense]\na = b\n")
        lines = postern.conf.read_text().splitlines()
        done = postern.ctl("reload")
        assert done.code == 78, (done.code, done.out, done.err)
        said = done.out + done.err
        for wrong in ("login_greting = x", "[nonsense]"):
            assert f"{postern.conf}:{lines.index(wrong) + 1}: " in said, said
        assert greeting(postern).startswith("* OK ")
        assert " OK " in held.command("NOOP")[-1]
        with Imap(postern.port) as client:
            assert client.login(name, password).startswith("OK ")
        # And by signal it is said in the log.
        os.kill(postern.pid, signal.SIGHUP)
        postern.wait_log(r"master: Error: .*(login_greting|nonsense)")
        assert greeting(postern).startswith("* OK ")


def test_a_missing_key_file_is_refused_and_the_old_one_goes_on_T_FAT_09(postern):
    postern.start()
    postern.settings["ssl_key"] = f"<{postern.directory}/no-such.key"
    postern.write_configuration()
    done = postern.ctl("reload")
    assert done.code == 78 and "no-such.key" in done.out + done.err
    assert greeting(postern).startswith("* OK ")


def test_a_port_that_is_taken_is_refused_and_said(postern):
    postern.start()
    old = postern.port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        postern.port = taken.getsockname()[1]
        postern.write_configuration()
        done = postern.ctl("reload")
        assert done.code != 0 and str(postern.port) in done.out + done.err
    postern.port = old
    assert greeting(postern).startswith("* OK ")


def test_connections_during_reloads_are_all_answered_T_FAT_10(postern, user):
    name, password = user()
    postern.start()
    failures, running = [], [True]

    def hammer():
        while running[0]:
            try:
                with Imap(postern.port, timeout=30) as client:
                    reply = client.login(name, password)
                    if not reply.startswith("OK "):
                        failures.append(reply)
            except OSError as error:
                failures.append(str(error))
    threads = [threading.Thread(target=hammer) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        done = postern.ctl("reload")
        assert done.code == 0, done.err
        time.sleep(0.3)
    running[0] = False
    for thread in threads:
        thread.join(60)
    assert not failures, failures[:5]


def test_old_generations_are_listed_while_they_have_sessions(postern, user):
    name, password = user()
    postern.start()
    with Imap(postern.port) as client:
        assert client.login(name, password).startswith("OK ")
        old = set(postern.pids("imap-login"))
        assert postern.ctl("reload").code == 0
        greeting(postern)
        rows = postern.ctl("process", "status", form="json").json()
        assert old & {int(row["pid"]) for row in rows if row["name"] == "imap-login"}
        assert name in postern.ctl("who").out
    wait_for("the old generation's end", lambda: not old & set(postern.pids("imap-login")), 15)


def test_after_a_broken_file_a_good_one_is_taken(postern):
    postern.start()
    postern.settings["login_greeting"] = "Third edition."
    postern.conf.write_text(postern.configuration() + "\n[nonsense]\n")
    assert postern.ctl("reload").code == 78
    assert greeting(postern).endswith("Postern ready.")
    postern.write_configuration()
    assert postern.ctl("reload").code == 0
    wait_for("the new greeting", lambda: greeting(postern).endswith("Third edition."))


def test_listeners_come_go_and_stay(postern, user):
    name, password = user()
    postern.start()
    old = postern.port
    with Imap(old) as held:
        assert held.login(name, password).startswith("OK ")
        postern.port = free_port()
        second = free_port()
        postern.extra = f"\n[inet_listener imap-login second]\nport = {second}\n"
        postern.write_configuration()
        assert postern.ctl("reload").code == 0
        assert greeting(postern).startswith("* OK ")
        with Imap(second) as client:
            assert client.login(name, password).startswith("OK ")
        # The old process, which has a session, listens no more either.
        def refused():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", old)) != 0
        wait_for("the old port's end", refused)
        assert " OK " in held.command("NOOP")[-1]
        postern.extra = ""
        postern.settings["protocols"] = "none"
        postern.write_configuration()
        assert postern.ctl("reload").code == 0
        wait_for("the last port's end", lambda: socket.socket().connect_ex(("127.0.0.1", second)) != 0)
        assert " OK " in held.command("NOOP")[-1]
        assert name in postern.ctl("who").out


def test_a_storm_of_signals_costs_few_reloads_and_loses_nobody(postern, user):
    name, password = user()
    postern.start()
    with Imap(postern.port) as held:
        assert held.login(name, password).startswith("OK ")
        for _ in range(100):
            os.kill(postern.pid, signal.SIGHUP)
        postern.wait_log(r"Configuration reloaded")
        with Imap(postern.port, timeout=30) as client:
            assert client.login(name, password).startswith("OK ")
        assert " OK " in held.command("NOOP")[-1]
    assert postern.log_text().count("Configuration reloaded") < 50


def test_a_control_socket_that_was_removed_comes_back_with_a_signal(postern):
    postern.start()
    (postern.run / "control").unlink()
    (postern.run / "anvil").unlink()
    os.kill(postern.pid, signal.SIGHUP)
    wait_for("the socket", (postern.run / "control").exists)
    assert postern.ctl("who", form="json").json() == []


@pytest.mark.parametrize("service", [
    {"service_count": "0", "client_limit": "1000", "process_min_avail": "1"},
    {"service_count": "1", "client_limit": "1", "process_limit": "50"}])
def test_auth_of_an_earlier_configuration_does_not_stay_for_sessions(postern, user, service):
    """It holds passwords and databases, and a session needs neither."""
    name, password = user()
    postern.service = service
    postern.start()
    with Imap(postern.port) as client:
        assert client.login(name, password).startswith("OK ")
        old = postern.pids("auth")
        assert postern.ctl("reload").code == 0
        wait_for("the end of the old auth", lambda: not any(alive(pid) for pid in old))
        assert " OK " in client.command("NOOP")[-1]


def resources(pid):
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return len(os.listdir(f"/proc/{pid}/fd")), pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.alone
def test_reloads_leave_no_descriptors_processes_or_memory(postern):
    postern.start()

    def reload(times):
        for _ in range(times):
            assert postern.ctl("reload").code == 0
        wait_for("one generation", lambda: len(postern.ctl("process", "status", "imap-login", form="json").json()) == 1, 30)
    reload(10)
    files, memory = resources(postern.pid)
    reload(40)
    after_files, after_memory = resources(postern.pid)
    assert after_files <= files + 2, (files, after_files)
    assert after_memory < memory + (8 << 20), (memory, after_memory)
