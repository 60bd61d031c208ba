"""The auth-client socket as Postfix and Exim use it, and the auth-master socket."""
import base64
import os
import socket

import pytest


class Lines:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def send(self, *lines):
        self.socket.sendall(b"".join("\t".join(line).encode() + b"\n" for line in lines))

    def line(self):
        return self.file.readline().decode().rstrip("\n").split("\t")

    def until(self, word):
        lines = [self.line()]
        while lines[-1][0] != word:
            assert lines[-1] != [""], lines
            lines.append(self.line())
        return lines

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()


@pytest.fixture
def auth(postern, user):
    name, password = user()
    postern.extra = "\n[unix_listener auth auth-client]\nmode = 0666\n\n[unix_listener auth auth-master]\nmode = 0600\n"
    postern.start()
    return postern, name, password


def plain(name, password):
    return base64.b64encode(f"\0{name}\0{password}".encode()).decode()


def shaken(postern):
    lines = Lines(postern.run / "auth-client")
    lines.send(["VERSION", "1", "2"], ["CPID", str(os.getpid())])
    return lines, lines.until("DONE")


def test_the_handshake(auth):
    lines, greeting = shaken(auth[0])
    with lines:
        words = [line[0] for line in greeting]
        assert ["VERSION", "1"] == greeting[0][:2]
        assert {"MECH", "SPID", "CUID", "COOKIE", "DONE"} <= set(words)
        assert ["MECH", "PLAIN", "plaintext"] in greeting and ["MECH", "LOGIN", "plaintext"] in greeting
        assert len(next(line for line in greeting if line[0] == "COOKIE")[1]) == 32


def test_plain_succeeds_as_postfix_asks_it(auth):
    postern, name, password = auth
    lines, _ = shaken(postern)
    with lines:
        lines.send(["AUTH", "1", "PLAIN", "service=smtp", "nologin", "lip=127.0.0.1", "rip=127.0.0.1", "secured",
                    "resp=" + plain(name, password)])
        reply = lines.line()
        assert reply[:2] == ["OK", "1"] and f"user={name}" in reply


def test_login_asks_for_name_and_password(auth):
    postern, name, password = auth
    lines, _ = shaken(postern)
    with lines:
        lines.send(["AUTH", "7", "LOGIN", "service=smtp", "secured"])
        assert lines.line()[:2] == ["CONT", "7"]
        lines.send(["CONT", "7", base64.b64encode(name.encode()).decode()])
        assert lines.line()[:2] == ["CONT", "7"]
        lines.send(["CONT", "7", base64.b64encode(password.encode()).decode()])
        assert lines.line()[:2] == ["OK", "7"]


def test_a_wrong_password_fails_that_request_only(auth):
    postern, name, password = auth
    lines, _ = shaken(postern)
    with lines:
        lines.send(["AUTH", "1", "PLAIN", "service=smtp", "secured", "resp=" + plain(name, "wrong-1")],
                   ["AUTH", "2", "PLAIN", "service=smtp", "secured", "resp=!!!"],
                   ["AUTH", "3", "PLAIN", "service=smtp", "secured", "resp=" + plain(name, password)])
        replies = {reply[1]: reply for reply in (lines.line(), lines.line(), lines.line())}
        assert replies["1"][0] == "FAIL" and f"user={name}" in replies["1"]
        assert replies["2"][0] == "FAIL"
        assert replies["3"][0] == "OK"


def test_a_cancelled_request_is_forgotten(auth):
    postern, name, password = auth
    lines, _ = shaken(postern)
    with lines:
        lines.send(["AUTH", "1", "PLAIN", "service=smtp", "secured"])
        assert lines.line()[:2] == ["CONT", "1"]
        lines.send(["CANCEL", "1"], ["AUTH", "2", "PLAIN", "service=smtp", "secured", "resp=" + plain(name, password)])
        assert lines.line()[:2] == ["OK", "2"]


@pytest.mark.parametrize("rubbish", [b"\n", b"GET / HTTP/1.0\n", b"VERSION\t99\t0\n", b"x" * 100000])
def test_rubbish_ends_that_connection_only(auth, rubbish):
    postern, name, password = auth
    with Lines(postern.run / "auth-client") as bad:
        bad.socket.sendall(rubbish + b"\n")
        try:
            while bad.file.readline():
                pass
        except OSError:
            pass
    lines, _ = shaken(postern)
    with lines:
        lines.send(["AUTH", "1", "PLAIN", "service=smtp", "secured", "resp=" + plain(name, password)])
        assert lines.line()[:2] == ["OK", "1"]


def test_sockets_have_the_modes_the_settings_say_T_LOC_01(auth):
    run = auth[0].run
    assert (run / "auth-client").stat().st_mode & 0o777 == 0o666
    assert (run / "auth-master").stat().st_mode & 0o777 == 0o600


def test_pass_on_the_master_socket_shows_the_fields(auth):
    postern, name, _ = auth
    with Lines(postern.run / "auth-master") as lines:
        lines.send(["VERSION", "1", "1"], ["PASS", "1", name, "service=imap"])
        reply = lines.until("PASS")[-1]
        assert reply[:2] == ["PASS", "1"] and "proxy" in "\t".join(reply) and "host=127.0.0.1" in reply


def test_pass_on_the_master_socket_for_nobody(auth):
    with Lines(auth[0].run / "auth-master") as lines:
        lines.send(["VERSION", "1", "1"], ["PASS", "5", "nobody-knows-me", "service=imap"])
        assert lines.until("NOTFOUND")[-1] == ["NOTFOUND", "5"]
