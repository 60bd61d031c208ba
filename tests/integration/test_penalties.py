"""What guessing costs, as anvil tells it: no test here measures time."""
import os
import signal
import socket
import threading
import time

from harness.imap import Imap
from harness.procs import wait_for
from test_haproxy import BALANCER, Behind


class OldAnvil:
    """In place of Postern's: from before there were levels. Says nothing unasked, knows no new command."""

    def __init__(self, postern):
        path = postern.run / "anvil"
        path.unlink()
        self.heard = b""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        os.chmod(path, 0o666)
        self.listener.listen(5)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                while (data := peer.recv(4096)) and b"PENALTY-LEVEL" not in data:
                    self.heard += data

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_an_anvil_that_is_older_than_auth_is_told_of_T_NET_09(postern, user):
    name, password = user()
    postern.start()
    old = OldAnvil(postern)
    try:
        os.kill(postern.pids("auth")[0], signal.SIGKILL)
        postern.wait_log("auth: Error: anvil is older than this auth process, or does not answer; there are no penalties")
        assert b"VERSION\tanvil\t1\t1\n" in old.heard
        with Imap(postern.port) as client:
            assert client.login(name, password).startswith("OK ")
    finally:
        old.close()


def test_an_auth_that_is_older_than_anvil_is_told_of_and_shortens_nothing_T_NET_09(postern, user):
    name, password = user()
    postern.start()
    with Imap(postern.port) as client:
        assert guess(client, name, "wrong-once-7a")
    wait_for("the penalty", lambda: penalties(postern).get("127.0.0.1") == 1)
    with socket.socket(socket.AF_UNIX) as anvil:
        anvil.settimeout(10)
        anvil.connect(str(postern.run / "anvil"))
        anvil.sendall(b"VERSION\tanvil\t1\t0\nPENALTY-SET-EXPIRE-SECS\t1\n")
        postern.wait_log("anvil: Error: An auth process of another version counts penalties .* restart Postern")
    time.sleep(1.5)  # more than the second it asked for
    assert penalties(postern)["127.0.0.1"] == 1


def penalties(postern):
    """Ident to value, of all anvil knows."""
    with socket.socket(socket.AF_UNIX) as anvil:
        anvil.settimeout(10)
        anvil.connect(str(postern.run / "anvil"))
        anvil.sendall(b"VERSION\tanvil\t1\t0\nPENALTY-DUMP\n")
        lines = anvil.makefile("r")
        out = {}
        while line := lines.readline().rstrip("\n"):
            if line.startswith("VERSION"):
                continue
            ident, value = line.split("\t")[:2]
            out[ident] = int(value)
        return out


def guess(client, name, password):
    return client.login(name, password).startswith("NO [AUTHENTICATIONFAILED]")


def test_a_repeated_password_is_no_new_guess_T_NET_10(postern, user):
    name, password = user()
    postern.start()
    with Imap(postern.port) as client:
        assert guess(client, name, "wrong-once-7a")
        wait_for("the penalty", lambda: penalties(postern).get("127.0.0.1") == 1)
        for _ in range(2):  # a mail program that has not heard of the new password
            assert guess(client, name, "wrong-once-7a")
        assert penalties(postern)["127.0.0.1"] == 1
        assert guess(client, name, "wrong-twice-8b")
        wait_for("the higher penalty", lambda: penalties(postern).get("127.0.0.1") == 2)
    # What was guessed is known to anvil by a checksum only; the log never had it.
    postern.passwords |= {"wrong-once-7a", "wrong-twice-8b"}


def test_an_address_behind_a_balancer_has_its_own_penalty_and_ipv6_counts_by_48(postern, user):
    behind = Behind(postern)
    postern.settings["disable_plaintext_auth"] = "no"
    name, password = user()
    postern.start()
    for address in ("192.0.2.1", "2001:db8:1:2::3", "2001:db8:1:9::9"):
        family, server = ("TCP6", "::1") if ":" in address else ("TCP4", "127.0.0.1")
        with behind.client(f"PROXY {family} {address} {server} 1 143\r\n".encode()) as client:
            assert guess(client, name, f"wrong-{address}")
    wait_for("the penalties", lambda: penalties(postern) == {"192.0.2.1": 1, "2001:db8:1::": 2})
    assert BALANCER not in penalties(postern)


def test_a_success_takes_nothing_back_from_those_who_guess_T_NET_09(postern, user):
    own, own_password = user()
    victim, password = user()
    postern.start()
    for guesses in (1, 2):
        with Imap(postern.port) as client:
            assert guess(client, victim, f"wrong-{guesses}-{password}")
            wait_for("the penalty", lambda: penalties(postern).get("127.0.0.1") == guesses)  # noqa: B023
        # Between two guesses an account of one's own: the penalty is neither less nor forgotten.
        with Imap(postern.port) as client:
            assert client.login(own, own_password).startswith("OK ")
        assert penalties(postern) == {"127.0.0.1": guesses}
