"""SIGHUP and `posternctl reload`."""
import os
import signal
import threading
import time

from harness.imap import Imap
from harness.procs import wait_for


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
    import socket
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
