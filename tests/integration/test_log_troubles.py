"""What the log does when it cannot write, and with what it should not have been given."""
import os
import re
import subprocess
import time

import pytest

from harness.imap import Imap
from harness.postern import build_tree, environment
from harness.procs import Child, wait_for

WHOLE = re.compile(r"^[A-Z][a-z]{2} [ 0-3]\d \d\d:\d\d:\d\d [a-z-]+: (Info|Warning|Error|Debug): .+$")


def visits(postern, first, count):
    """So many clients, each from an address of its own, that leave one line."""
    for i in range(first, first + count):
        with Imap(postern.port, timeout=20, source=(address(i), 0)) as client:
            client.command("LOGOUT")


def address(i):
    return f"127.1.{i // 250}.{i % 250 + 1}"


def check_whole(postern, path, names):
    """Every line is whole, but for the last where the file was full."""
    lines = path.read_text().splitlines()
    halves = [line for line in lines if not WHOLE.match(line)]
    assert halves in ([], lines[-1:]), halves[:3]
    for line in lines:
        if WHOLE.match(line):
            names.update(re.findall(r"Disconnected: .*rip=(127\.1\.\d+\.\d+),", line))


def test_a_file_that_can_grow_no_more_stops_no_login_and_loses_no_line_T_FAT_06(postern, user):
    name, password = user()
    postern.write_configuration()
    postern._child = Child(["prlimit", "--fsize=32768", build_tree() / "src/master/postern", "-F", "-c", postern.conf],
                           postern.directory / "output", cwd="/", env=environment())
    wait_for("the greeting", postern._greets, 30)
    visits(postern, 0, 220)
    wait_for("the file to be full", lambda: postern.log.stat().st_size >= 32768 - 500)
    visits(postern, 220, 30)
    with Imap(postern.port) as client:
        assert client.login(name, password).startswith("OK ")
    assert postern.log.stat().st_size <= 32768
    assert "cannot write the log: File too large" in postern.ctl("log", "errors").out
    wait_for("a word on standard error", lambda: "cannot write the log: File too large" in postern.output())
    # As logrotate does it.
    moved = postern.directory / "moved.log"
    postern.log.rename(moved)
    assert postern.ctl("log", "reopen").code == 0
    postern.wait_log(rf"proxy\({name},.*Started proxying")
    names = set()
    check_whole(postern, moved, names)
    check_whole(postern, postern.log, names)
    assert names == {address(i) for i in range(250)}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_full_disk_stops_no_login_and_what_is_lost_is_counted_T_FAT_06(postern, user, directory):
    name, password = user()
    disk = directory / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode != 0:
        pytest.skip("cannot mount here")
    try:
        postern.log = disk / "postern.log"
        postern.settings["log_path"] = str(postern.log)
        (disk / "filler").write_bytes(b"x" * 40960)
        postern.start()
        visits(postern, 0, 150)
        with Imap(postern.port) as client:
            assert client.login(name, password).startswith("OK ")
        assert "cannot write the log: No space left on device" in postern.ctl("log", "errors").out
        # 1 MiB waits in memory; what is more is counted.
        with open(f"/proc/{postern.pids('imap-login')[0]}/fd/2", "wb", buffering=0) as stderr:
            for _ in range(1500):
                stderr.write(b"\x01\x021 " + b"y" * 1000 + b"\n")
        time.sleep(0.5)
        (disk / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        postern.wait_log(rf"proxy\({name},.*Started proxying")
        visits(postern, 1000, 1)
        postern.wait_log(r"log: Error: \d+ lines dropped: the log could not be written")
        halves = [line for line in postern.log_text().splitlines() if not WHOLE.match(line)]
        assert not halves, halves[:3]
        assert postern.stop() == []
    finally:
        if postern.running():
            postern.stop()
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_a_child_writes_raw_is_one_line_each_and_forges_nothing(postern):
    """Its standard error is a pipe to log; a process that was taken over may write anything there."""
    postern.start()
    pid = postern.pids("imap-login")[0]
    with open(f"/proc/{pid}/fd/2", "wb", buffering=0) as stderr:
        stderr.write(b"half a line")
        postern.wait_log(r"imap-login: Error: half a line$")
        stderr.write(b"\x01\x07999 unknown level\n\x01\x02not a pid\n\x01\n\x01\x02\n\n\n")
        stderr.write(b"\x1b[2Jauth: Info: forged\r\n\0\xff\xfe binary\n")
        postern.wait_log(r"imap-login: Error: unknown level$")
        postern.wait_log(r"imap-login: Error: \\x1b\[2Jauth: Info: forged\\x0d$")
        postern.wait_log(r"imap-login: Error: \\x00\\xff\\xfe binary$")
        for piece in (b"A" * 50_000, b"A" * 50_000 + b"\n"):
            stderr.write(piece)
            time.sleep(0.2)
        postern.wait_log(r"<line continued> A+$")
    wait_for("all of it", lambda: postern.log_text().count("A") >= 100_000)
    with Imap(postern.port) as client:
        client.command("LOGOUT")
    postern.wait_log(r"imap-login: Info: Disconnected: Aborted login")
    assert not re.search(r"^auth: ", postern.log_text(), re.M)
