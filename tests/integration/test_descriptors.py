"""A process, or the whole system, that has no descriptors left."""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from harness.imap import Imap
from harness.postern import build_tree, environment
from harness.procs import Child, wait_for
from test_limits import cpu

FULL = "* BYE [UNAVAILABLE] Too many connections, try again later."


def start_with_few_descriptors(postern):
    postern.settings["disable_plaintext_auth"] = "no"
    postern.write_configuration()
    postern._child = Child(["prlimit", "--nofile=128", build_tree() / "src/master/postern", "-F", "-c", postern.conf],
                           postern.directory / "output", cwd="/", env=environment())
    wait_for("the greeting", postern._greets, 30)


@pytest.mark.alone
def test_who_comes_when_there_are_none_left_is_told_T_NET_06(postern, user):
    name, password = user()
    start_with_few_descriptors(postern)
    with Imap(postern.port) as relayed:
        assert relayed.login(name, password).startswith("OK ")
        (pid,) = postern.pids("imap-login")
        holding, refused = [], []
        while not refused:
            client = Imap(postern.port, greeting=False)
            word = client.line()
            (holding if word.startswith("* OK ") else refused).append(client)
            assert word.startswith("* OK ") or (word == FULL and client.at_end()), word
            assert len(holding) < 128
        postern.wait_log(r"imap-login: Error: accept: Too many open files \([1-9]\d* refused, trying again in a second\)")
        # Nobody of ours goes, and yet who comes later is told as well: there is no deafness. Where TLS comes first nothing can be said.
        for _ in range(2):
            with Imap(postern.port, greeting=False) as client:
                assert client.line() == FULL and client.at_end()
        with socket.create_connection(("127.0.0.1", postern.tls_port), 10) as client:
            assert client.recv(100) == b""
        before, lines = cpu(pid), postern.log_text().count("accept: Too many open files")
        time.sleep(2)
        assert cpu(pid) - before < 0.1
        assert postern.log_text().count("accept: Too many open files") - lines <= 3
        assert " OK " in relayed.command("NOOP")[-1] and " OK " in holding[0].command("NOOP")[-1]
        for client in holding[:20]:
            client.close()
        def served():
            with Imap(postern.port, greeting=False) as client:
                return client.line().startswith("* OK ")
        wait_for("service", served)
        for client in holding[20:] + refused:
            client.close()


@pytest.mark.alone
def test_who_floods_one_port_makes_no_other_deaf_T_NET_06(postern):
    start_with_few_descriptors(postern)
    holding, ended = [], threading.Event()
    try:
        while True:
            client = Imap(postern.port, greeting=False)
            holding.append(client)
            if not client.line().startswith("* OK "):
                break
            assert len(holding) < 128

        def arrive():
            while not ended.wait(0.05):
                # Never read: they stay until they are sent away.
                holding.append(socket.create_connection(("127.0.0.1", postern.port), 10))
        flood = threading.Thread(target=arrive)
        flood.start()
        try:
            # The process pauses for a second after each failure, and the flood is always there first. Nothing but the refusal
            # ends these: what they wait for is a word or a handshake that never comes.
            for _ in range(4):
                with socket.create_connection(("127.0.0.1", postern.tls_port), 10) as client:
                    client.settimeout(8)
                    assert client.recv(100) == b""
        finally:
            ended.set()
            flood.join()
    finally:
        for client in holding:
            client.close()


def tracing_works():
    if os.geteuid() != 0 or not shutil.which("strace"):
        return False
    return subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True).returncode == 0


@pytest.mark.alone
@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED"])
def test_accept_that_fails_for_all_reasons_neither_spins_nor_makes_deaf_T_NET_06(postern, error):
    if not tracing_works():
        pytest.skip("needs root and strace")
    postern.start()
    (pid,) = postern.pids("imap-login")
    waiting = []
    tracer = subprocess.Popen(["strace", "-qq", "-f", "-p", str(pid), "-o", str(postern.directory / "trace"), "-e",
                               "trace=accept,accept4", "-e", f"inject=accept,accept4:error={error}"])
    try:
        wait_for("the tracer", lambda: re.search(r"TracerPid:\t[1-9]", pathlib.Path(f"/proc/{pid}/status").read_text()))
        waiting = [Imap(postern.port, greeting=False) for _ in range(3)]
        postern.wait_log("imap-login: Error: accept: ")
        before = cpu(pid)
        time.sleep(3)
        assert cpu(pid) - before < 0.3  # the tracer's stops are counted, too
        # Each try is a few calls: of a queue that breaks off, or one that a spare descriptor could have helped.
        calls = (postern.directory / "trace").read_text().count("(INJECTED)")
        assert 2 <= calls < 120, calls
        assert 2 <= postern.log_text().count("imap-login: Error: accept: ") <= 6
    finally:
        tracer.terminate()
        tracer.wait()
    # No connection of ours has ended, and nobody has come since.
    for client in waiting:
        assert client.line().startswith("* OK ")
        client.close()
