"""Thousands of logins by every protocol, a third of which fail in different ways, and what they leave behind."""
import asyncio
import base64
import collections
import os
import pathlib
import random
import socket
import time

from .fakes.mixed import Mixed
from .procs import descendants, free_port, program, wait_for
from .wires import PROTOCOLS, WIRES

PASSWORD = "pw-of-all-9e02"
ADDRESSES = 150  # login_max_connections_per_ip
AUTHENTICATE = {"imap": "a AUTHENTICATE PLAIN {}\r\n", "pop3": "AUTH PLAIN {}\r\n", "submission": "AUTH PLAIN {}\r\n",
                "sieve": 'AUTHENTICATE "PLAIN" "{}"\r\n'}
GOOD = {"imap": b"a OK", "pop3": b"+OK", "submission": b"235", "sieve": b"OK"}
# Of a hundred logins, beside those that the backend fails: what the passdb says wrong, and clients that leave.
KINDS = {"plain": 70, "starttls": 12, "list": 4, "gone": 3, "leaves": 4, "loop": 1, "no-host": 2, "no-mechanism": 2, "no-authority": 2}


def configure(gate, mixed, **settings):
    """Users of every kind and protocol; the processes stay the same from start to end."""
    gate.settings |= {"protocols": PROTOCOLS, "auth_failure_delay": "0", "login_proxy_timeout": "2 s", "proxy_failover": "yes",
                      "login_max_connections_per_ip": str(ADDRESSES), "default_client_limit": "4000", "auth_verbose": "no", "disable_plaintext_auth": "no",
                      **settings}
    gate.service = {"service_count": "0", "client_limit": "1000", "process_min_avail": "2", "process_limit": "2"}
    gone = free_port()
    own = {"imap": gate.port, "pop3": gate.pop3_port, "submission": gate.submission_port, "sieve": gate.sieve_port}
    for protocol in WIRES:
        plain = mixed.ports[protocol, "plain"]
        rows = {"plain": {"port": plain}, "leaves": {"port": plain}, "gone": {"port": gone}, "loop": {"port": own[protocol]},
                "starttls": {"port": mixed.ports[protocol, "starttls"], "starttls": "any-cert"}, "no-host": {"host": None, "port": plain},
                "no-mechanism": {"port": plain, "proxy_mech": "NOSUCH"}, "no-authority": {"port": plain, "ssl": "yes"},
                "list": {"host": f"127.0.0.1:{gone},127.0.0.1:{plain}"}}
        for kind, fields in rows.items():
            gate.add_user(f"{protocol}-{kind}", PASSWORD, **{"proxy": "y", "host": "127.0.0.1", **fields})


class Clients:
    """Makes logins, `at_once` of them at a time, from several addresses."""

    def __init__(self, gate, at_once=60, seed=7):
        self._random = random.Random(seed)
        self._at_once = at_once
        self._ports = {"imap": gate.port, "pop3": gate.pop3_port, "submission": gate.submission_port, "sieve": gate.sieve_port}
        self.outcomes = collections.Counter()

    def run(self, logins):
        asyncio.run(self._run(logins))

    async def _run(self, logins):
        self._left = logins
        await asyncio.gather(*(self._worker(f"127.0.0.{10 + i % 8}") for i in range(self._at_once)))

    async def _worker(self, address):
        while self._left > 0:
            self._left -= 1
            protocol = self._random.choice(list(WIRES))
            (kind,) = self._random.choices(list(KINDS), KINDS.values())
            self.outcomes[kind, await asyncio.wait_for(self._login(protocol, kind, address), 60)] += 1

    async def _login(self, protocol, kind, address):
        reader, writer = await asyncio.open_connection("127.0.0.1", self._ports[protocol], local_addr=(address, 0))
        try:
            line = await reader.readline()
            while protocol == "sieve" and not line.startswith(b"OK"):
                line = await reader.readline()
            if not line:
                return "no greeting"
            name = f"{protocol}-{kind}"
            response = base64.b64encode(f"\0{name}\0{PASSWORD}".encode()).decode()
            writer.write(AUTHENTICATE[protocol].format(response).encode())
            if kind == "leaves":
                await asyncio.sleep(self._random.random() / 50)
                return "left"
            line = await reader.readline()
            while line.startswith(b"* ") or (protocol == "submission" and line[3:4] == b"-"):
                line = await reader.readline()
            if not line.startswith(GOOD[protocol]):
                return "failed" if line else "closed"
            for _ in range(self._random.randrange(3)):
                writer.write(b"hello\r\n")
                if not await reader.readline():
                    return "logged in, and left by the backend"
            return "logged in"
        except OSError:
            return "broken"
        finally:
            if self._random.randrange(4) == 0:
                writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.close()

    @property
    def failed(self):
        return sum(count for (_, outcome), count in self.outcomes.items() if not outcome.startswith("logged in"))


def memory(pid):
    """Resident and proportional bytes of a process."""
    found = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        word, _, rest = line.partition(":")
        if word in ("Rss", "Pss"):
            found[word] = int(rest.split()[0]) * 1024
    return found["Rss"], found["Pss"]


def measure(gate):
    """Process -> (name, descriptors, resident, proportional), once nothing goes on."""
    wait_for("nothing to go on", lambda: idle(gate), 60, 0.2)
    out = {}
    for pid in [gate.pid, *descendants(gate.pid)]:
        out[pid] = (program(pid), len(os.listdir(f"/proc/{pid}/fd")), *memory(pid))
    return out


def idle(gate):
    """Whether nobody is logging in, relayed, or waited for at a backend."""
    if gate.ctl("who", form="json").json() or gate.ctl("proxy", "list", form="json").json():
        return False
    return all(row["pending"] == row["sessions"] == "0" for row in gate.ctl("proxy", "status", form="json").json())


def counts_are_back(gate):
    """From one address as many clients as may be come in, and not one more: nobody is counted who has left."""
    def connect():
        connection = socket.create_connection(("127.0.0.1", gate.port), 20, source_address=("127.0.0.10", 0))
        return connection, connection.recv(300)
    held = [connect() for _ in range(ADDRESSES)]
    try:
        one_more, said = connect()
        one_more.close()
        return all(greeting.startswith(b"* OK") for _, greeting in held) and said.startswith(b"* BYE")
    finally:
        for connection, _ in held:
            connection.close()


def endure(gate, pair, warm_up, logins, failing=25, at_once=60, **settings):
    """Starts it, and lets it have `warm_up` logins and then `logins`: (before, after, outcomes of the latter, seconds).

    `failing` in a hundred connections go wrong at the backends, of those that get there."""
    mixed = Mixed(pair, failing)
    try:
        configure(gate, mixed, **settings)
        gate.start()
        Clients(gate, at_once, 1).run(warm_up)
        before = measure(gate)
        clients, begun = Clients(gate, at_once, 2), time.monotonic()
        clients.run(logins)
        seconds = time.monotonic() - begun
        return before, measure(gate), clients, seconds
    finally:
        mixed.stop()
