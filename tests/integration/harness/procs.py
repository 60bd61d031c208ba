"""Processes, ports and waiting."""
import fcntl
import os
import pathlib
import random
import signal
import socket
import subprocess
import tempfile
import time


def wait_for(what, condition, seconds=10.0, every=0.02):
    """Calls `condition` until it returns something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(every)


_random = random.Random(os.getpid())
_claims = open(pathlib.Path(tempfile.gettempdir()) / f"postern-test-ports-{os.getuid()}", "w")
_given = set()


def free_port():
    """A loopback port nobody listens on, outside the range the kernel hands out to clients.

    Nor will another run of the tests take it: what stands for the port is a byte of a file, locked until this process ends."""
    while True:
        port = _random.randrange(10000, 31000)
        if port in _given:  # a process may lock a byte twice
            continue
        try:
            fcntl.lockf(_claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            with socket.socket() as other:
                if other.connect_ex(("127.0.0.1", port)) != 0:
                    _given.add(port)
                    return port


def alive(pid):
    """Is there a process of that number that is not a zombie?"""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def title(pid):
    """The process's command line as `ps` shows it."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def program(pid):
    """Name of the program a process runs, by its file."""
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(" (deleted)")
    except OSError:
        return ""


def descendants(pid):
    """All processes below `pid`, oldest first."""
    children = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = sorted(children.get(todo.pop(0), []))
        found += below
        todo += below
    return found


def processes_in(directory):
    """Processes whose root or working directory lies in `directory`, or that hold a socket or file of it."""
    prefix, found = str(directory), []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            links = [os.readlink(entry / "root"), os.readlink(entry / "cwd")]
            links += [os.readlink(fd) for fd in (entry / "fd").iterdir()]
        except OSError:
            continue
        if int(entry.name) != os.getpid() and any(link.startswith(prefix) for link in links):
            found.append(int(entry.name))
    return found


class Child:
    """A program in the foreground whose output goes to a file."""

    def __init__(self, arguments, output, **options):
        self.output = pathlib.Path(output)
        with open(self.output, "ab") as sink:
            self.process = subprocess.Popen([str(a) for a in arguments], stdin=subprocess.DEVNULL, stdout=sink,
                                            stderr=sink, start_new_session=True, **options)
        self.pid = self.process.pid

    def running(self):
        return self.process.poll() is None

    def stop(self, seconds=20.0):
        """SIGTERM, then SIGKILL; returns the exit status, None if it had to be killed."""
        below = descendants(self.pid)
        status = None
        if self.running():
            self.process.terminate()
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        end = time.monotonic() + seconds
        while any(alive(p) for p in below) and time.monotonic() < end:
            time.sleep(0.02)
        left = [p for p in below if alive(p)]
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        return None if left else status
