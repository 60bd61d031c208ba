"""Log lines are Dovecot's, word for word, and hold no secret."""
import base64
import os
import re
import signal

from harness.imap import Imap
from harness.procs import wait_for

STAMP = r"^[A-Z][a-z]{2} [ 0-3]\d \d\d:\d\d:\d\d imap-login: Info: "
SESSION = r"session=<[A-Za-z0-9+/]{16}>$"


def test_a_proxied_login(postern, user, tls, backend):
    name, password = user()
    postern.start()
    with Imap(postern.tls_port, tls) as client:
        client.login(name, password)
    postern.wait_log(STAMP + rf"proxy\({name},127\.0\.0\.1:{backend.port}\): Started proxying to <127\.0\.0\.1> "
                     rf"\(\d\.\d{{3}} secs\): user=<{name}>, method=PLAIN, rip=127\.0\.0\.1, lip=127\.0\.0\.1, TLS, "
                     + SESSION)


def test_a_failed_login_as_fail2ban_knows_it(postern):
    postern.start()
    with Imap(postern.port) as client:
        client.login("somebody", "wrong-1")
    postern.wait_log(STAMP + r"Disconnected: Connection closed \(auth failed, 1 attempts in \d+ secs\): "
                     r"user=<somebody>, method=PLAIN, rip=127\.0\.0\.1, lip=127\.0\.0\.1, secured, " + SESSION)


def test_who_only_looked(postern):
    postern.start()
    with Imap(postern.port):
        pass
    postern.wait_log(STAMP + r"Disconnected: Connection closed \(no auth attempts in \d+ secs\): user=<>, "
                     r"rip=127\.0\.0\.1, lip=127\.0\.0\.1, secured, " + SESSION)


def test_who_logged_out(postern):
    postern.start()
    with Imap(postern.port) as client:
        client.command("LOGOUT")
    postern.wait_log(STAMP + r"Disconnected: Aborted login by logging out \(no auth attempts in \d+ secs\): user=<>, ")


def test_a_plaintext_attempt_that_was_refused(postern):
    postern.start()
    with Imap(postern.port, source=("127.0.0.2", 0)) as client:
        client.command("AUTHENTICATE PLAIN " + base64.b64encode(b"\0bob\0wrong-2").decode())
    postern.wait_log(r"Disconnected: Connection closed \(tried to use disallowed plaintext auth\): user=<>, "
                     r"method=PLAIN, rip=127\.0\.0\.2")


def test_control_bytes_and_brackets_of_a_name_cannot_forge_a_line_T_DAT_08(postern):
    postern.settings |= {"auth_username_chars": "", "disable_plaintext_auth": "no"}
    postern.start()
    names = ("a\x1b[31mred", "x\r\nimap-login: Info: Login: user=<forged>", "del\x7f", "b\xc2\x9b", "end>, rip=1.2.3.4")
    for number, name in enumerate(names):
        with Imap(postern.port, source=(f"127.0.1.{number + 1}", 0)) as client:  # each without the others' penalty
            token = base64.b64encode(b"\0" + name.encode("utf-8", "surrogateescape") + b"\0wrong").decode()
            client.command(f"AUTHENTICATE PLAIN {token}")
    wait_for("five lines", lambda: postern.log_text().count("Disconnected: ") >= 5)
    raw = postern.log.read_bytes()
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", raw)
    assert b"\xc2\x9b" not in raw
    assert not re.search(rb"^imap-login: Info: Login", raw, re.M)
    assert b"user=<end>, rip=1.2.3.4" not in raw


def test_auth_verbose_says_why(postern, user):
    name, _ = user()
    postern.settings["auth_verbose"] = "yes"
    postern.start()
    with Imap(postern.port) as client:
        client.login(name, "wrong-1")
        client.login("nobody-knows-me", "wrong-1")
    postern.wait_log(rf"auth: Info: users\({name},127\.0\.0\.1,<[^>]+>\): Password mismatch")
    postern.wait_log(r"auth: Info: users\(nobody-knows-me,127\.0\.0\.1,<[^>]+>\): unknown user")


def test_no_password_reaches_a_log_even_with_all_debugging_on_T_DAT_09(postern, user, tls):
    postern.settings |= {"auth_debug": "yes", "auth_verbose": "yes", "verbose_ssl": "yes"}
    name, password = user()
    postern.passwords |= {"typed-wrong-55aa", base64.b64encode(f"\0{name}\0{password}".encode()).decode()}
    postern.start()
    with Imap(postern.tls_port, tls) as client:
        client.login(name, "typed-wrong-55aa")
        client.command("LOGIN " + name)
        client.command("AUTHENTICATE PLAIN " + base64.b64encode(f"\0{name}\0typed-wrong-55aa".encode()).decode())
        assert client.login(name, password).startswith("OK ")
    postern.wait_log(r"Disconnected by client")
    # What the log must not hold is checked when the instance is stopped (conftest.py, complaints()).
    assert "Debug: " in postern.log_text()


def test_usr1_and_log_reopen_open_the_file_again(postern):
    postern.start()
    for number, way in enumerate(("signal", "command")):
        moved = postern.directory / f"moved{number}.log"
        postern.log.rename(moved)
        if way == "signal":
            os.kill(postern.pid, signal.SIGUSR1)
        else:
            assert postern.ctl("log", "reopen").code == 0
        wait_for("a new file", postern.log.exists)

        # Lines that were on their way when the file was exchanged are in the old one.
        def arrives():
            with Imap(postern.port) as client:
                client.command("LOGOUT")
            return "Aborted login by logging out" in postern.log_text()
        wait_for("a line in the new file", arrives, 10, 0.2)


def test_log_errors_remembers_what_went_wrong(postern):
    from harness.procs import free_port
    port = free_port()
    postern.settings["login_proxy_max_reconnects"] = "0"
    postern.add_user("u1", "pw-of-u1-3b9d", proxy="y", host="127.0.0.1", port=port)
    postern.start()
    with Imap(postern.port) as client:
        client.login("u1", "pw-of-u1-3b9d")
    postern.wait_log(r"Connection refused")
    wait_for("it among the errors", lambda: "Connection refused" in postern.ctl("log", "errors").out)


def test_log_lines_can_go_to_standard_error(postern):
    postern.settings["log_path"] = "/dev/stderr"
    postern.start()
    with Imap(postern.port) as client:
        client.command("LOGOUT")
    wait_for("the line", lambda: "imap-login: Info: Disconnected: Aborted login" in postern.output())
