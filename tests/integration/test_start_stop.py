"""Starting, refusing to start, stopping."""
import os
import pwd
import signal
import socket
import subprocess
import time

import pytest

from harness.imap import Imap
from harness.postern import build_tree, environment
from harness.procs import alive, descendants, title, wait_for


def run(postern, *options):
    return subprocess.run([build_tree() / "src/master/postern", "-F", "-c", postern.conf, *options],
                          capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, env=environment())


@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_and_leaves_no_process(postern, user, way):
    name, password = user()
    postern.start()
    with Imap(postern.port) as session, Imap(postern.port):
        assert session.login(name, password).startswith("OK ")
        below = descendants(postern.pid)
        assert len(below) >= 4
        os.kill(postern.pid, way)
        assert postern.wait(20) == 0
        wait_for("the children's end", lambda: not any(alive(p) for p in below), 10)
        assert not (postern.run / "master.pid").exists()
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", postern.port)) != 0


def test_who_waits_before_login_reads_that_we_shut_down(postern):
    postern.start()
    with Imap(postern.port) as client:
        os.kill(postern.pid, signal.SIGTERM)
        assert client.line() == "* BYE Shutting down"


def test_a_second_instance_on_the_same_directory_is_refused_T_LOC_05(postern):
    postern.start()
    done = run(postern)
    assert done.returncode == 75, done.returncode
    assert "already running" in done.stdout + done.stderr
    assert (postern.run / "master.pid").read_text().strip() == str(postern.pid)
    with Imap(postern.port) as client:
        assert client.greeting.startswith("* OK ")


def test_a_stale_pid_file_is_no_hindrance_T_LOC_05(postern):
    postern.run.mkdir(mode=0o755)
    (postern.run / "master.pid").write_text("1\n")
    postern.start()
    assert (postern.run / "master.pid").read_text().strip() == str(postern.pid)


def test_two_signals_at_once_are_one_stop(postern, user):
    name, password = user()
    postern.start()
    with Imap(postern.port) as session, Imap(postern.port) as client:
        assert session.login(name, password).startswith("OK ")
        for _ in range(3):
            os.kill(postern.pid, signal.SIGTERM)
        assert client.line() == "* BYE Shutting down"
        assert postern.wait(20) == 0
    assert "killed with signal 9" not in postern.everything_logged()


def test_a_signal_during_the_start_stops_it(postern):
    for pause in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4):
        postern.start(ready=False)
        time.sleep(pause)
        below = descendants(postern.pid)
        os.kill(postern.pid, signal.SIGTERM)
        assert postern.wait(20) in (0, -signal.SIGTERM)
        wait_for("the children's end", lambda: not any(alive(p) for p in below), 10)
        postern._child = None
    postern.start()


def test_a_killed_master_is_replaced_at_once_T_FAT_07(postern):
    """As an init system does it, while the old processes are still noticing; whatever its services are."""
    postern.may_die = True
    for service in ({"service_count": "0", "client_limit": "1000", "process_min_avail": "2"},
                    {"service_count": "1", "client_limit": "1", "process_min_avail": "3", "process_limit": "50"}):
        postern.service = service
        postern.start()
        with Imap(postern.port):
            os.kill(postern.pid, signal.SIGKILL)
            postern.wait()
            postern._child = None
            postern.start()
        with Imap(postern.port) as client:
            assert client.greeting.startswith("* OK ")
        assert postern.ctl("who", form="json").code == 0
        assert postern.stop() == []


def test_sessions_that_may_live_on_do_not_hold_up_the_next_start(postern, user):
    postern.settings["shutdown_clients"] = "no"
    name, password = user()
    postern.start()
    with Imap(postern.port) as session:
        assert session.login(name, password).startswith("OK ")
        for _ in range(3):
            os.kill(postern.pid, signal.SIGTERM)
            assert postern.wait(20) == 0
            postern._child = None
            postern.start()
        assert " OK " in session.command("NOOP")[-1]
        done = postern.ctl("stop", form="json")
        assert done.code == 0 and done.json() == [], (done.out, done.err)
        assert " OK " in session.command("NOOP")[-1]


def test_a_log_on_standard_error_needs_the_foreground(postern):
    postern.settings["log_path"] = "/dev/stderr"
    postern.write_configuration()
    done = subprocess.run([build_tree() / "src/master/postern", "-c", postern.conf], capture_output=True, text=True,
                          timeout=60, stdin=subprocess.DEVNULL, env=environment())
    assert done.returncode == 78 and "-F" in done.stderr, (done.returncode, done.stderr)
    assert not (postern.run / "master.pid").exists()


def test_what_could_not_work_is_refused_before_anything_listens_or_changes(postern):
    postern.start()
    good, word = postern.extra, "no-such-program"
    postern.extra = f"\n[service imap-login]\nexecutable = {word}\n"
    done = postern.check_configuration("-t")
    assert done.code == 78 and word in done.err, (done.code, done.err)
    assert postern.ctl("reload").code == 78
    postern.extra = good
    with Imap(postern.port) as client:
        assert client.greeting.startswith("* OK ")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_run_directory_that_is_not_ours_alone_is_refused_T_LOC_02(postern, directory):
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir()
    postern.run.symlink_to(elsewhere)
    postern.write_configuration()
    done = run(postern)
    assert done.returncode == 77 and str(postern.run) in done.stderr, (done.returncode, done.stderr)
    assert not list(elsewhere.iterdir())
    postern.run.unlink()
    postern.run.mkdir(mode=0o755)
    os.chown(postern.run, pwd.getpwnam("nobody").pw_uid, -1)
    done = run(postern)
    assert done.returncode == 77 and "another user" in done.stderr, (done.returncode, done.stderr)
    os.chown(postern.run, 0, -1)
    (postern.run / "login").symlink_to(elsewhere)
    done = run(postern)
    assert done.returncode == 77 and not list(elsewhere.iterdir()), (done.returncode, done.stderr)


def test_a_port_that_is_taken_is_exit_69_and_names_it(postern):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        postern.port = taken.getsockname()[1]
        postern.write_configuration()
        done = run(postern)
        assert done.returncode == 69, (done.returncode, done.stderr)
        assert str(postern.port) in done.stdout + done.stderr + postern.log_text()


def test_started_without_f_it_goes_to_the_background(postern):
    postern.write_configuration()
    done = subprocess.run([build_tree() / "src/master/postern", "-c", postern.conf], capture_output=True, text=True,
                          timeout=60, stdin=subprocess.DEVNULL, env=environment())
    assert done.returncode == 0, done.stderr
    pid = int((postern.run / "master.pid").read_text())
    try:
        with Imap(postern.port) as client:
            assert client.greeting.startswith("* OK ")
        assert postern.ctl("stop").code == 0
        wait_for("its end", lambda: not alive(pid), 20)
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_process_titles_name_the_service(postern):
    postern.start()
    titles = " ".join(title(p) for p in descendants(postern.pid))
    for name in ("imap-login", "auth", "anvil", "log"):
        assert name in titles, titles


def test_start_is_logged_as_dovecot_does(postern):
    postern.start()
    postern.wait_log(r"master: Info: Postern v\S+ starting up for imap")
