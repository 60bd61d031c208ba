"""login_access_sockets: other programs decide who may come in, with the client's own socket in their hands."""
import array
import os
import socket
import threading
import time

import pytest

from harness.imap import Imap
from harness.pop3 import Pop3


class Gatekeeper:
    """Answers as told by `answer(protocol, address)`: bytes, or None for a close without a word."""

    def __init__(self, path, answer):
        self.path, self.answer, self.asked, self.held = path, answer, [], []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        os.chmod(path, 0o666)
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        with connection:
            text, control, *_ = connection.recvmsg(100, socket.CMSG_SPACE(4))
            fd = array.array("i", control[0][2][:4])[0]
            with socket.socket(fileno=fd) as client:
                address = client.getpeername()[0]
            self.asked.append((text.decode(), address))
            reply = self.answer(text.decode(), address)
            for byte in reply or b"":
                try:
                    connection.sendall(bytes([byte]))
                except BrokenPipeError:
                    return  # two bytes were enough
                time.sleep(0.01)
            if reply == b"":
                self.held.append(connection.dup())  # says nothing, and stays

    def close(self):
        self.listener.close()
        for connection in self.held:
            connection.close()


@pytest.fixture
def gatekeepers(postern):
    """A function that puts one more of them before `postern`."""
    made = []

    def make(answer):
        made.append(Gatekeeper(postern.directory / f"gate{len(made)}", answer))
        postern.settings["login_access_sockets"] = " ".join(str(keeper.path) for keeper in made)
        return made[-1]
    yield make
    for keeper in made:
        keeper.close()


@pytest.mark.parametrize("service_count", ["0", "1"])
def test_all_of_them_must_agree(postern, user, tls, gatekeepers, service_count):
    name, password = user()
    postern.service = {"service_count": service_count}
    postern.settings["protocols"] = "imap pop3"
    first = gatekeepers(lambda protocol, address: b"0\n" if address == "127.0.0.7" else b"1\n")
    second = gatekeepers(lambda protocol, address: b"0\n" if address == "127.0.0.8" or protocol == "pop3\n" and address == "127.0.0.9"
                         else b"1\n")
    postern.start()
    with Imap(postern.port, source=("127.0.0.9", 0)) as client:
        assert client.greeting.startswith("* OK ")
    with Imap(postern.tls_port, tls) as client:
        assert client.login(name, password).startswith("OK ")
    assert ("imap\n", "127.0.0.9") in first.asked and ("imap\n", "127.0.0.9") in second.asked
    for kind, port, address in ((Imap, postern.port, "127.0.0.7"), (Imap, postern.port, "127.0.0.8"), (Pop3, postern.pop3_port, "127.0.0.9")):
        with kind(port, source=(address, 0), greeting=False) as client:
            assert client.at_end(), "refused without a word"
    assert ("imap\n", "127.0.0.7") not in second.asked, "the first no is enough"
    postern.wait_log(rf"imap-login: Info: access\({first.path}\): Client refused \(rip=127\.0\.0\.7\)")
    postern.wait_log(rf"imap-login: Info: access\({second.path}\): Client refused \(rip=127\.0\.0\.8\)")
    postern.wait_log(rf"pop3-login: Info: access\({second.path}\): Client refused \(rip=127\.0\.0\.9\)")
    assert "Disconnected: " not in "".join(line for line in postern.log_text().splitlines() if "rip=127.0.0.7" in line)


@pytest.mark.parametrize("answer,line", [(b"yes", "Error: access\\(.*\\): Invalid input"), (b"1x", "Error: access\\(.*\\): Invalid input"),
                                         (b"1", "Info: access\\(.*\\): Client refused"), (None, "Info: access\\(.*\\): Client refused")])
def test_what_is_no_yes_is_a_no(postern, gatekeepers, answer, line):
    gatekeepers(lambda protocol, address: answer if address == "127.0.0.7" else b"1\n")
    postern.start()
    with Imap(postern.port, source=("127.0.0.7", 0), greeting=False) as client:
        client.send("a NOOP\r\n")
        assert client.at_end()
    postern.wait_log(f"imap-login: {line} \\(rip=127\\.0\\.0\\.7\\)")


def test_nobody_comes_in_when_the_gatekeeper_is_away(postern):
    postern.settings["login_access_sockets"] = "gate"  # below base_dir/login
    postern.start(ready=False)
    postern.wait_log("anvil|master: Info", 20)
    deadline = time.monotonic() + 20
    while True:
        try:
            with Imap(postern.port, source=("127.0.0.7", 0), greeting=False) as client:
                assert client.at_end()
                break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    postern.wait_log(r"imap-login: Error: access\(gate\): connect\(\) failed: .*No such file or directory.* \(rip=127\.0\.0\.7\)")


def test_who_leaves_meanwhile_is_told_of(postern, gatekeepers):
    gatekeepers(lambda protocol, address: b"" if address == "127.0.0.7" else b"1\n")
    postern.start()
    client = Imap(postern.port, source=("127.0.0.7", 0), greeting=False)
    time.sleep(0.3)
    client.close()
    postern.wait_log(r"imap-login: Error: access\(.*gate0\): Client disconnected during lookup \(rip=127\.0\.0\.7\)")
