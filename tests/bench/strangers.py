#!/usr/bin/env python3
"""What strangers can do to others' logins, and what they can learn from the clock. Prints figures.

    strangers.py slow  [--clients 2000] [--logins 300]   good logins while others only hold connections (T-NET-01)
    strangers.py clock [--tries 200]                     unknown user, one with a locked or a broken row, or wrong password, told by
                                                         the time of the answer (T-NET-11); exit code 1: it can be told

POSTERN_BUILD names the (release) build tree. Starts instances of its own, as the integration tests do, and uses their harness; a
backend of its own, in a process of its own, accepts every password. Loopback only."""
import argparse
import concurrent.futures
import errno
import multiprocessing
import os
import pathlib
import random
import resource
import selectors
import signal
import shutil
import socket
import sys
import tempfile
import time
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
warnings.filterwarnings("ignore", category=DeprecationWarning)
import crypt  # noqa: E402  (bcrypt, from libcrypt)
from harness.certificates import Authority  # noqa: E402
from harness.fake_backend import CrowdBackend  # noqa: E402
from harness.imap import Imap  # noqa: E402
from harness.postern import Postern  # noqa: E402

MODES = {
    "shared": {"service_count": "0", "process_min_avail": "2", "process_limit": "2", "client_limit": "400"},
    "own": {"service_count": "1", "client_limit": "1", "process_limit": "100"},
}


def in_process(target, *arguments):
    """Runs `target(pipe, *arguments)`; returns the process and the first thing it sends."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    return process, ours


def backend_process(pipe):
    backend = CrowdBackend()
    pipe.send(backend.port)
    time.sleep(86400)


def slow_clients(pipe, port, count, come_back):
    """Holds `count` connections from eight addresses and says nothing; who is sent away may come back after a second."""
    selector, again, opened = selectors.DefaultSelector(), [], 0

    def connect(number):
        nonlocal opened
        client = socket.socket()
        client.setblocking(False)
        client.bind((f"127.0.0.{50 + number % 8}", 0))
        result = client.connect_ex(("127.0.0.1", port))
        assert result in (0, errno.EINPROGRESS), os.strerror(result)
        selector.register(client, selectors.EVENT_READ, number)
        opened += 1
    for number in range(count):
        connect(number)
        if number % 100 == 0:
            time.sleep(0.02)
    pipe.send("ready")
    while True:
        for key, _ in selector.select(0.1):
            try:
                gone = not key.fileobj.recv(4096)
            except OSError:
                gone = True
            if gone:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                if come_back:
                    again.append((time.monotonic() + 1, key.data))
        while again and again[0][0] <= time.monotonic():
            connect(again.pop(0)[1])
        if pipe.poll():
            pipe.send((opened, len(selector.get_map())))
            return


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def login_times(port, count, name, password):
    out = []
    for _ in range(count):
        begun = time.monotonic()
        with Imap(port, source=("127.0.0.9", 0), timeout=60) as client:
            reply = client.login(name, password)
            out.append(time.monotonic() - begun)
            assert reply.startswith("OK "), reply
            client.command("LOGOUT")
        time.sleep(0.01)
    return out


def show(label, times):
    print(f"{label:42} p50 {percentile(times, .5) * 1000:7.1f} ms   p99 {percentile(times, .99) * 1000:7.1f} ms   "
          f"longest {max(times) * 1000:7.1f} ms   ({len(times)} logins)", flush=True)


def slow(options, directory, pair):
    backend, pipe = in_process(backend_process)
    port = pipe.recv()
    for mode, service in MODES.items():
        postern = Postern(directory / mode, pair)
        postern.add_user("good", "pw-of-good-18b2", proxy="y", host="127.0.0.1", port=port)
        postern.service = service
        postern.settings["disable_plaintext_auth"] = "no"
        postern.start()
        try:
            show(f"{mode}: nobody else", login_times(postern.port, options.logins, "good", "pw-of-good-18b2"))
            for come_back in (False, True):
                crowd, pipe = in_process(slow_clients, postern.port, options.clients, come_back)
                assert pipe.recv() == "ready"
                time.sleep(3)
                label = f"{mode}: {options.clients} slow clients" + (", coming back" if come_back else "")
                show(label, login_times(postern.port, options.logins, "good", "pw-of-good-18b2"))
                pipe.send("end")
                opened, held = pipe.recv()
                crowd.join()
                print(f"{'':42} they opened {opened} connections in all and held {held} at the end", flush=True)
        finally:
            postern.stop()
    backend.terminate()


def area_under_curve(first, second):
    """The probability that one of `second` is longer than one of `first`: 0.5 if nothing tells them apart."""
    above = sum((b > a) + 0.5 * (b == a) for a in first for b in second)
    return above / (len(first) * len(second))


def tries(port, kinds, aligned, run, workers=8):
    """Seconds to the answer, by kind."""
    def attempt(number_and_kind):
        number, kind = number_and_kind
        # Each from an address of its own: no penalty of the others'.
        with Imap(port, source=(f"127.{run + 1}.{number // 250}.{number % 250 + 1}", 0), timeout=60) as client:
            now = time.monotonic()
            time.sleep((-now % 0.5) if aligned else random.random() * 0.5)
            begun = time.monotonic()
            reply = client.login(f"{kind}{number % 20}", f"wrong-{number}")
            taken = time.monotonic() - begun
            assert reply.startswith("NO [AUTHENTICATIONFAILED]"), reply
            return kind, taken
    out = {kind: [] for kind in set(kinds)}
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for kind, taken in pool.map(attempt, enumerate(kinds)):
            out[kind].append(taken)
    return out


# What a stranger asks for: who is there and has a hash, and those who look like him.
KINDS = {"never": "unknown user", "locked": "locked row", "broken": "broken row"}
EVEN = (0.4, 0.6)  # an AUC within tells nothing that 200 tries could


def clock(options, directory, pair):
    told = False
    for delay in ("2 secs", "0"):
        postern = Postern(directory / f"clock-{delay[0]}", pair)
        postern.settings |= {"disable_plaintext_auth": "no", "auth_failure_delay": delay}
        for number in range(20):
            hashed = crypt.crypt(f"pw-{number}-9a1c", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=1 << 10))
            postern.add_user(f"known{number}", f"pw-{number}-9a1c", stored="{BLF-CRYPT}" + hashed, nologin="y")
            postern.add_user(f"locked{number}", f"pw-{number}-9a1c", stored="{CRYPT}!" + hashed, nologin="y")
            postern.add_user(f"broken{number}", f"pw-{number}-9a1c", stored="{BLF-CRYPT}$2y$14$abcdefgh", nologin="y")
        postern.start()
        try:
            tries(postern.port, ["known"], False, 0)  # a hash of the database has been seen
            for run, aligned in ((1, False), (2, True)):
                kinds = ["known", *KINDS] * options.tries
                random.shuffle(kinds)
                times = tries(postern.port, kinds, aligned, run, 8 if delay != "0" else 1)
                for kind, name in KINDS.items():
                    area = area_under_curve(times["known"], times[kind])
                    outside = not EVEN[0] <= area <= EVEN[1]
                    told |= outside
                    print(f"auth_failure_delay = {delay:6} {'aligned to 500 ms' if aligned else 'at random phase':18} "
                          f"AUC {area:.3f}   medians: wrong password {percentile(times['known'], .5) * 1000:.1f} ms, {name} "
                          f"{percentile(times[kind], .5) * 1000:.1f} ms (n = {options.tries} each){'   TOLD BY THE CLOCK' if outside else ''}",
                          flush=True)
        finally:
            postern.stop()
    return 1 if told else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["slow", "clock"])
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--logins", type=int, default=300)
    parser.add_argument("--tries", type=int, default=200)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped
    directory = pathlib.Path(tempfile.mkdtemp(prefix="postern-bench-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        pair = Authority(directory / "certificates").issue("server", ["localhost", "127.0.0.1"])
        return {"slow": slow, "clock": clock}[options.what](options, directory, pair)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
