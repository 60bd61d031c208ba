"""Starting, refusing to start, stopping."""
import os
import signal
import socket
import subprocess

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
    assert done.returncode not in (0, -15), done.returncode
    assert "already running" in done.stdout + done.stderr
    with Imap(postern.port) as client:
        assert client.greeting.startswith("* OK ")


def test_a_stale_pid_file_is_no_hindrance_T_LOC_05(postern):
    postern.run.mkdir(mode=0o755)
    (postern.run / "master.pid").write_text("1\n")
    postern.start()
    assert (postern.run / "master.pid").read_text().strip() == str(postern.pid)


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
