"""Submission: mail sent through Postern to a real Dovecot, what is refused before a login, and the clients people use."""
import base64
import os
import re
import smtplib
import socket
import subprocess
import threading

import pytest

from harness.imap import Imap
from harness.postern import installed
from harness.procs import wait_for
from harness.smtp import Smtp, plain

FAILED = "535 5.7.8 Authentication failed."
NOT_BEFORE_AUTH = "530 5.7.0 Authentication required."
SOURCE = ("127.0.0.5", 0)  # not the server's own address, so not secured
USUAL = ["BURL imap", "CHUNKING", "ENHANCEDSTATUSCODES", "SIZE"]


@pytest.fixture
def gate(postern):
    postern.settings |= {"protocols": "imap submission", "hostname": "gate.example"}
    return postern


@pytest.fixture
def account(gate, backend, user):
    """A function that makes a user whose submission service is the Dovecot backend: (name, password)."""
    def add(**fields):
        return user(**{"port": backend.submission_port, **fields})
    return add


def letter(subject, text="through the gate"):
    return f"From: <joe@example.com>\nTo: <ann@example.com>\nSubject: {subject}\n\n{text}\n"


def session(client, backend, name):
    """What a client does after the login: sends a message, which arrives."""
    assert client.ehlo()
    assert client.mail("joe@example.com", "ann@example.com", letter(name)).startswith("250 ")
    assert client.command("QUIT").startswith("221 ")
    assert client.at_end()
    wait_for("the message", lambda: backend.sink.find(f"Subject: {name}"))
    assert backend.sink.find(f"Subject: {name}")[:2] == ("joe@example.com", ["ann@example.com"])


class TestAccepted:
    def test_a_message_is_sent_through(self, gate, account, backend):
        name, password = account()
        gate.start()
        with Smtp(gate.submission_port) as client:
            assert client.greeting == "220 gate.example Postern ready."
            assert client.ehlo() == ["8BITMIME", "AUTH PLAIN LOGIN", *USUAL, "STARTTLS", "PIPELINING"]
            assert client.login(name, password) == "235 2.7.0 Logged in."
            session(client, backend, name)
        gate.wait_log(rf"submission-login: Info: proxy\({name},127.0.0.1:\d+\): Started proxying to <127.0.0.1> "
                      rf"\(\d+\.\d+ secs\): user=<{name}>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, secured, session=<")
        gate.wait_log(rf"submission-login: Info: proxy\({name},127.0.0.1:\d+\): Disconnected by server \(\ds idle, in=\d+, out=\d+\)")

    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
    def test_auth_with_a_challenge(self, gate, account, backend, mechanism):
        name, password = account()
        gate.start()
        words = [plain(name, password)] if mechanism == "PLAIN" else [
            base64.b64encode(word.encode()).decode() for word in (name, password)]
        with Smtp(gate.submission_port) as client:
            client.command("HELO client.example")
            assert client.command(f"auth {mechanism.lower()}").startswith("334 ")
            for word in words[:-1]:
                assert client.command(word).startswith("334 ")
            assert client.command(words[-1]) == "235 2.7.0 Logged in."
            session(client, backend, name)

    @pytest.mark.parametrize("way", ["starttls", "implicit"])
    def test_tls(self, gate, account, backend, tls, way):
        gate.settings["disable_plaintext_auth"] = "yes"
        name, password = account()
        gate.start()
        port, context = (gate.submission_port, None) if way == "starttls" else (gate.submissions_port, tls)
        with Smtp(port, context, source=SOURCE) as client:
            if way == "starttls":
                assert client.ehlo() == ["8BITMIME", *USUAL, "STARTTLS", "PIPELINING"]
                client.starttls(tls)
            assert client.ehlo() == ["8BITMIME", "AUTH PLAIN LOGIN", *USUAL, "PIPELINING"]
            assert client.command("STARTTLS") == "502 5.5.1 TLS is already active."
            assert client.login(name, password) == "235 2.7.0 Logged in."
            session(client, backend, name)
        gate.wait_log(rf"submission-login: Info: .*Started proxying.*user=<{name}>.*, TLS, session=")

    def test_commands_pipelined_behind_the_login_reach_the_backend_once_T_USR_01(self, gate, account, backend):
        name, password = account()
        gate.start()
        with Smtp(gate.submission_port) as client:
            client.send(f"EHLO c.example\r\nAUTH PLAIN {plain(name, password)}\r\nEHLO again.example\r\nMAIL FROM:<a@b.example>\r\n"
                        "RSET\r\nQUIT\r\n")
            replies = [client.reply()[-1] for _ in range(6)]
            assert [reply[:3] for reply in replies] == ["250", "235", "250", "250", "250", "221"], replies
            assert client.at_end()

    def test_a_second_attempt_on_the_same_connection(self, gate, account):
        name, password = account()
        gate.start()
        with Smtp(gate.submission_port) as client:
            assert client.login(name, "wrong-first") == FAILED
            assert client.login(name, password) == "235 2.7.0 Logged in."

    @pytest.mark.parametrize("fields", [{"starttls": "any-cert"}, {"ssl": "any-cert"}, {"proxy_mech": "PLAIN"},
                                        {"proxy_mech": "login"}, {"destuser": "elsewhere"}],
                             ids=lambda fields: "-".join(fields.values()))
    def test_ways_to_log_in_at_the_backend(self, gate, account, backend, fields):
        if "ssl" in fields:
            fields = fields | {"port": backend.submissions_port}
        name, password = account(**fields)
        gate.start()
        with Smtp(gate.submission_port) as client:
            assert client.login(name, password) == "235 2.7.0 Logged in."
            session(client, backend, name)

    def test_a_master_user_at_the_backend(self, gate, account, backend):
        backend.add_master("smtpmaster", "pw-of-smtpmaster")
        name, password = account()
        gate.add_user(name, password, proxy="y", host="127.0.0.1", port=backend.submission_port, master="smtpmaster",
                      **{"pass": "pw-of-smtpmaster"})
        gate.start()
        with Smtp(gate.submission_port) as client:
            assert client.login(name, password) == "235 2.7.0 Logged in."
            session(client, backend, name)

    def test_the_backend_knows_address_and_session_of_the_client(self, gate, account, backend):
        gate.settings["disable_plaintext_auth"] = "no"
        name, password = account()
        gate.start()
        with Smtp(gate.submission_port, source=("127.0.0.7", 0)) as client:
            assert client.login(name, password) == "235 2.7.0 Logged in."
        ours = gate.wait_log(rf"Started proxying.*user=<{name}>")
        number = re.search(r"session=<([^>]+)>", ours).group(1)
        assert "rip=127.0.0.7" in ours
        theirs = next(line for line in backend.log_text().splitlines() if f"user=<{name}>" in line and "submission-login" in line)
        assert "rip=127.0.0.7" in theirs and f"session=<{number}>" in theirs

    def test_a_trusted_hop_is_believed_and_passed_on(self, gate, account, backend):
        gate.settings["login_trusted_networks"] = "127.0.0.8"
        name, password = account()
        gate.start()
        with Smtp(gate.submission_port, source=("127.0.0.8", 0)) as client:
            assert client.ehlo()[-1] == "XCLIENT ADDR PORT PROTO HELO LOGIN SESSION TTL TIMEOUT FORWARD"
            assert client.command("XCLIENT ADDR=192.0.2.55 PORT=7 SESSION=from+2Bhop TTL=3") == client.greeting
            assert client.command("XCLIENT ADDR=192.0.2.66 PORT=0") == "501 5.5.4 Invalid PORT parameter"
            assert client.login(name, password) == "235 2.7.0 Logged in."
        assert "rip=192.0.2.55" in gate.wait_log(rf"Started proxying.*user=<{name}>.*session=<from\+hop>")
        theirs = next(line for line in backend.log_text().splitlines() if f"user=<{name}>" in line and "submission-login" in line)
        assert "rip=192.0.2.55" in theirs and "session=<from+hop>" in theirs

    def test_imap_and_submission_side_by_side_as_posternctl_shows_them(self, gate, account, backend, user):
        name, password = account()
        other, secret = user()
        gate.start()
        with Smtp(gate.submission_port) as client, Imap(gate.port) as second:
            assert client.login(name, password) == "235 2.7.0 Logged in."
            assert second.login(other, secret).startswith("OK")
            out = gate.ctl("proxy", "list").out
            assert re.search(rf"{name}\s+submission\s", out) and re.search(rf"{other}\s+imap\s", out), out
            assert gate.ctl("kick", name).code == 0
            assert client.at_end()
            assert " OK " in second.command("NOOP")[-1]


class TestRealClients:
    """Each sends a message, over every transport it knows."""

    def run(self, command, given=""):
        return subprocess.run([str(word) for word in command], input=given, capture_output=True, text=True, timeout=60)

    @pytest.fixture
    def sends(self, gate, account, backend):
        """Runs a command made of (name, password), and waits for the message."""
        def run(make):
            name, password = account()
            gate.start()
            done = self.run(*make(name, password))
            assert done.returncode == 0, done.stdout + done.stderr
            wait_for("the message", lambda: backend.sink.find(f"Subject: {name}"))
        return run

    @pytest.mark.skipif(not installed("curl"), reason="no curl")
    @pytest.mark.parametrize("way", ["plain", "starttls", "implicit"])
    def test_curl(self, gate, sends, authority, directory, way):
        def make(name, password):
            message = directory / "message"
            message.write_text(letter(name).replace("\n", "\r\n"))
            scheme, port = ("smtps", gate.submissions_port) if way == "implicit" else ("smtp", gate.submission_port)
            return ["curl", "-sS", "--max-time", "30", "--cacert", authority.cert, *(["--ssl-reqd"] if way == "starttls" else []),
                    "-u", f"{name}:{password}", "--mail-from", "joe@example.com", "--mail-rcpt", "ann@example.com",
                    "-T", message, f"{scheme}://localhost:{port}/client.example"],
        sends(make)

    @pytest.mark.skipif(not installed("curl"), reason="no curl")
    def test_curl_with_a_wrong_password(self, gate, account, directory):
        name, _ = account()
        gate.start()
        done = self.run(["curl", "-sS", "-u", f"{name}:not-it", "--mail-from", "a@b.example", "--mail-rcpt", "c@d.example",
                         f"smtp://127.0.0.1:{gate.submission_port}/"])
        assert done.returncode == 67, (done.returncode, done.stderr)  # curl's "login denied"

    @pytest.mark.skipif(not installed("swaks"), reason="no swaks")
    @pytest.mark.parametrize("way, mechanism", [("plain", "LOGIN"), ("tls", "PLAIN"), ("tls-on-connect", "LOGIN")])
    def test_swaks(self, gate, sends, way, mechanism):
        def make(name, password):
            port = gate.submissions_port if way == "tls-on-connect" else gate.submission_port
            return ["swaks", "--server", "127.0.0.1", "--port", port, *([] if way == "plain" else [f"--{way}"]), "--auth", mechanism,
                    "--auth-user", name, "--auth-password", password, "--from", "joe@example.com", "--to", "ann@example.com",
                    "--helo", "client.example", "--pipeline", "--header", f"Subject: {name}"],
        sends(make)

    @pytest.mark.skipif(not installed("msmtp"), reason="no msmtp")
    @pytest.mark.parametrize("way", ["plain", "starttls", "implicit"])
    def test_msmtp(self, gate, sends, authority, directory, way):
        def make(name, password):
            settings = directory / "msmtprc"
            settings.write_text(f"account default\nhost localhost\nport {gate.submissions_port if way == 'implicit' else gate.submission_port}\n"
                                f"from joe@example.com\nauth plain\nuser {name}\npassword {password}\ndomain client.example\n"
                                f"tls {'off' if way == 'plain' else 'on'}\ntls_starttls {'on' if way == 'starttls' else 'off'}\n"
                                f"tls_trust_file {authority.cert}\n")
            settings.chmod(0o600)
            return ["msmtp", "-C", settings, "ann@example.com"], letter(name)
        sends(make)

    @pytest.mark.parametrize("way", ["plain", "starttls", "implicit"])
    def test_smtplib(self, gate, account, backend, tls, way):
        name, password = account()
        gate.start()
        if way == "implicit":
            client = smtplib.SMTP_SSL("localhost", gate.submissions_port, context=tls, timeout=20)
        else:
            client = smtplib.SMTP("localhost", gate.submission_port, timeout=20)
        if way == "starttls":
            client.starttls(context=tls)
        client.login(name, password)
        client.sendmail("joe@example.com", ["ann@example.com"], letter(name, "..dots\n.\n..and lines"))
        client.quit()
        wait_for("the message", lambda: backend.sink.find(f"Subject: {name}"))
        assert "\r\n..dots\r\n.\r\n..and lines\r\n" in backend.sink.find(f"Subject: {name}")[2]

    @pytest.mark.parametrize("way", ["starttls", "implicit"])
    def test_openssl(self, gate, account, authority, way):
        name, password = account()
        gate.start()
        port = gate.submissions_port if way == "implicit" else gate.submission_port
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-verify_return_error",
             "-CAfile", str(authority.cert), "-quiet", "-crlf", *(["-starttls", "smtp"] if way == "starttls" else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        client.stdin.write(f"AUTH PLAIN {plain(name, password)}\nquit\n")
        client.stdin.flush()
        out, _ = client.communicate(timeout=30)
        assert "235 2.7.0 Logged in." in out and "221 2.0.0 Bye" in out


class TestRefused:
    def test_wrong_password_and_unknown_user_read_the_same(self, gate, account):
        name, _ = account()
        gate.start()
        with Smtp(gate.submission_port) as client:
            assert client.login(name, "wrong-1") == FAILED
            assert client.login("nobody-knows-me", "wrong-2") == FAILED
            assert client.login(name, "wrong-3") == FAILED
            assert client.command("QUIT") == "221 2.0.0 Bye"
            assert client.at_end()
        gate.wait_log(r"submission-login: Info: Disconnected: Aborted login by logging out \(auth failed, 3 attempts in \d+ secs\): "
                      rf"user=<{name}>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, secured, session=<")

    def test_passwords_in_clear_where_they_are_forbidden_T_TLS_01(self, gate, account):
        gate.settings["disable_plaintext_auth"] = "yes"
        name, password = account()
        gate.start()
        with Smtp(gate.submission_port, source=SOURCE) as client:
            assert client.login(name, password) == "523 5.7.10 Plaintext authentication disabled."
        gate.wait_log(r"Disconnected: Connection closed \(tried to use disallowed plaintext auth\): user=<>, method=PLAIN")

    def test_everything_before_tls_where_it_is_required(self, gate, tls):
        gate.settings["ssl"] = "required"
        gate.start()
        with Smtp(gate.submission_port, source=SOURCE) as client:
            assert not [word for word in client.ehlo() if word.startswith("AUTH")]
            for command in ("AUTH PLAIN", "MAIL FROM:<a@b>", "RSET", "VRFY x", "HELO x"):
                assert client.command(command) == "530 5.7.0 TLS required.", command
            client.starttls(tls)
            assert client.command("RSET") == "250 2.0.0 OK"

    def test_mail_before_a_login(self, gate):
        gate.start()
        with Smtp(gate.submission_port) as client:
            client.ehlo()
            for command in ("MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA", "VRFY a"):
                assert client.command(command) == NOT_BEFORE_AUTH
            for command in ("HELP", "EXPN list", "ETRN x", "BURL imap://x LAST"):
                assert client.command(command) == "500 5.5.1 Unknown command"
            client.send("BDAT 16 LAST\r\nMAIL FROM:<a@b>\nNOOP\r\n")
            assert client.line() == NOT_BEFORE_AUTH
            assert client.line() == "250 2.0.0 OK"
            client.send("BDAT 999999999 LAST\r\n")
            assert client.line() == NOT_BEFORE_AUTH
            assert client.line() == "421 4.0.0 gate.example Too much data before login"
            assert client.at_end()

    def test_mechanisms_that_are_not_there_and_what_is_no_base64(self, gate):
        gate.start()
        with Smtp(gate.submission_port) as client:
            assert client.command("AUTH NTLM") == "504 5.5.4 Unsupported authentication mechanism."
            assert client.command("AUTH PLAIN !!!") == "501 5.5.2 Invalid base64 data in initial response"
            assert client.command("AUTH PLAIN") == "334 "
            assert client.command("A\tnologin") == "501 5.5.2 Invalid base64 in response"
            assert client.command("AUTH PLAIN") == "334 "
            assert client.command("*") == "501 5.5.2 Authentication aborted by client."

    def test_lines_that_are_two_to_somebody_else(self, gate):
        """SMTP smuggling: CVE-2023-51764, CVE-2023-51765, CVE-2023-51766."""
        gate.start()
        with Smtp(gate.submission_port) as client:
            for line in (b"NOOP\rQUIT\r\n", b"NOOP\r\r\n", b"NOOP x\r.\r\n", b"NOOP\0\r\n", b"NO\x01OP\n"):
                client.send(line)
                assert client.line() == "500 5.5.2 Invalid command syntax", line
            assert client.command("NOOP") == "250 2.0.0 OK"

    def test_eleven_bad_commands_in_a_row(self, gate):
        gate.start()
        with Smtp(gate.submission_port) as client:
            client.send("FOO\r\n" * 10 + "NOOP\r\n" + "HELP\r\n" * 20)
            lines = []
            while line := client.line():
                lines.append(line)
            assert len(lines) == 22 and lines[-1] == "421 4.7.0 gate.example Too many invalid commands.", lines
        gate.wait_log(r"submission-login: Info: Disconnected: Too many invalid commands\. \(no auth attempts in \d+ secs\)")

    def test_lines_without_end_T_NET_02(self, gate):
        gate.start()
        with Smtp(gate.submission_port) as client:
            client.send("NOOP " + "x" * 3000 + "\r\n")
            assert client.line() == "500 5.5.2 Line too long"
            client.send("AUTH PLAIN\r\n" + "A" * 9000 + "\r\nNOOP\r\n")
            assert [client.line() for _ in range(3)] == ["334 ", "500 5.5.2 Line too long", "250 2.0.0 OK"]
            client.send("NOOP " + "x" * 70000)
            assert client.line() == "421 4.0.0 gate.example Input buffer full, aborting"
        gate.wait_log(r"submission-login: Info: Disconnected: Input buffer full \(auth failed, 1 attempts in \d+ secs\)")

    @pytest.mark.parametrize("glued", ["EHLO evil.example\r\nMAIL FROM:<x@y>\r\n", "\r\n", "A"])
    def test_plaintext_glued_behind_starttls_is_not_run_T_TLS_02_CVE_2021_33515(self, gate, glued):
        gate.start()
        with Smtp(gate.submission_port) as client:
            client.send("STARTTLS\r\n" + glued)
            assert client.line() == "220 2.0.0 Begin TLS negotiation now."
            assert client.at_end()
        gate.wait_log(r"Disconnected: Plaintext input after STARTTLS \(no auth attempts in \d+ secs\): user=<>")

    def test_leaving_during_an_auth_CVE_2019_11494(self, gate):
        gate.start()
        for said, log in (("AUTH PLAIN\r\n", r"\(unfinished AUTH command\) \(client didn't finish SASL auth, waited \d+ secs\)"),
                          ("AUTH PL", r"\(no auth attempts in \d+ secs\)")):
            with Smtp(gate.submission_port) as client:
                client.send(said)
                if said.endswith("\n"):
                    assert client.line() == "334 "
            gate.wait_log(r"submission-login: Info: Disconnected: Connection closed " + log)
        with Smtp(gate.submission_port) as client:
            assert client.command("NOOP") == "250 2.0.0 OK"

    def test_who_never_logs_in_is_closed(self, gate):
        gate.settings["login_timeout"] = "1 s"
        gate.start()
        with Smtp(gate.submission_port) as client:
            assert client.line() == "421 4.4.2 gate.example Disconnected for inactivity."
            assert client.at_end()
        # SMTP's log has what the client was told.
        gate.wait_log(r"submission-login: Info: Disconnected: Disconnected for inactivity\. \(no auth attempts in \d+ secs\)")

    def test_users_with_nologin_and_those_whose_mail_is_here(self, gate):
        gate.add_user("closed", "pw-closed-1", nologin="y")
        gate.add_user("local", "pw-local-12")
        gate.start()
        with Smtp(gate.submission_port) as client:
            assert client.login("closed", "pw-closed-1") == "525 5.7.13 Login disabled for this user"
            assert client.login("local", "pw-local-12") == (
                "421 4.0.0 gate.example Internal login failure. Refer to server log for more information.")
            assert client.at_end()
        gate.wait_log(r"submission-login: Info: Disconnected: Internal login failure\. Refer to server log for more information\. "
                      r"\(unfinished AUTH command\) \(internal failure, 2 successful auths\): user=<local>")


class TestSettings:
    def test_what_is_announced(self, gate):
        gate.settings |= {"submission_max_mail_size": "10 M", "submission_backend_capabilities": "DSN SMTPUTF8 BINARYMIME"}
        gate.start()
        with Smtp(gate.submission_port) as client:
            assert client.ehlo() == ["AUTH PLAIN LOGIN", "BINARYMIME", "BURL imap", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES",
                                     "SIZE 10485760", "SMTPUTF8", "STARTTLS", "PIPELINING"]

    def test_words_that_are_not_known(self, gate):
        gate.settings["submission_backend_capabilities"] = "DSN PIPELINE"
        done = gate.check_configuration()
        assert done.code == 0 and "Unknown SMTP capability in submission_backend_capabilities: PIPELINE (did you mean PIPELINING?)" in (
            done.out + done.err)
        gate.settings["submission_client_workarounds"] = "implicit-auth"
        done = gate.check_configuration()
        assert done.code == 78 and "'implicit-auth' is not one of whitespace-before-path, " in done.out + done.err

    def test_the_machines_name_where_none_is_given(self, gate):
        del gate.settings["hostname"]
        gate.start()
        with Smtp(gate.submission_port) as client:
            assert socket.gethostname() in client.greeting
        gate.settings["hostname"] = "a host"
        assert gate.check_configuration().code == 78


class ExternalAuth:
    """An auth server that offers EXTERNAL and sends everybody who uses it to one backend, or nobody."""

    def __init__(self, path, port):
        self.port, self.requests = port, []
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
            connection.sendall(f"VERSION\t1\t2\nMECH\tEXTERNAL\nSPID\t{os.getpid()}\nCUID\t1\nCOOKIE\t{'0' * 32}\nDONE\n".encode())
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection):
        for line in connection.makefile("r"):
            fields = line.rstrip("\n").split("\t")
            if fields[0] == "AUTH":
                self.requests.append(fields)
                answer = (f"OK\t{fields[1]}\tuser=joe\tproxy\thost=127.0.0.1\tport={self.port}\tpass=pw-of-joe-x" if self.port
                          else f"FAIL\t{fields[1]}")
                connection.sendall((answer + "\n").encode())


class TestImplicitExternal:
    def start(self, gate, port):
        auth = ExternalAuth(gate.directory / "auth.sock", port)
        gate.settings |= {"auth_socket_path": str(gate.directory / "auth.sock"),
                          "submission_client_workarounds": "implicit-auth-external"}
        gate.start()
        return auth

    def test_mail_stands_for_the_login(self, gate, fake_backend):
        def talk(talk):
            talk.send(b"220 fake\r\n")
            talk.line()
            talk.send(b"250-fake\r\n250 AUTH PLAIN\r\n")
            assert talk.line().startswith(b"AUTH PLAIN ")
            talk.send(b"235 2.7.0 in\r\n")
            assert talk.line() == b"MAIL FROM:<joe@example.com>\r\n"
            talk.send(b"250 2.1.0 sender ok\r\n")
            assert talk.line() == b"RCPT TO:<ann@example.com>\r\n"
            talk.send(b"250 2.1.5 recipient ok\r\n")
            talk.line()
        auth = self.start(gate, fake_backend(talk).port)
        with Smtp(gate.submission_port) as client:
            client.ehlo()
            client.send("MAIL FROM:<joe@example.com>\r\nRCPT TO:<ann@example.com>\r\n")
            assert [client.line(), client.line()] == ["250 2.1.0 sender ok", "250 2.1.5 recipient ok"]
        assert auth.requests[0][2] == "EXTERNAL" and auth.requests[0][-1] == "resp="
        auth.listener.close()

    def test_and_is_told_that_it_failed(self, gate):
        auth = self.start(gate, None)
        with Smtp(gate.submission_port) as client:
            assert client.command("MAIL FROM:<joe@example.com>") == FAILED
            assert client.command("NOOP") == "250 2.0.0 OK"
        auth.listener.close()
