"""POP3: logins through Postern to a real Dovecot, what is refused, and backends that are away or misbehave."""
import base64
import hashlib
import poplib
import re
import time

import pytest

from harness.imap import Imap
from harness.pop3 import Pop3, plain
from harness.procs import free_port, wait_for
from harness.scripted_auth import ScriptedAuth

FAILED = "-ERR [AUTH] Authentication failed."
UNAVAILABLE = "-ERR [SYS/TEMP] Account is temporarily unavailable."
MISCONFIGURED = "-ERR [SYS/PERM] Account is temporarily unavailable."
REFUSED = "-ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections."
GREETING = b"+OK [XCLIENT] fake ready.\r\n"
SOURCE = ("127.0.0.5", 0)  # not the server's own address, so not secured


@pytest.fixture
def gate(postern):
    postern.settings["protocols"] = "imap pop3"
    return postern


@pytest.fixture
def account(gate, backend, user):
    """A function that makes a user whose mail is at the Dovecot backend, with one message: (name, password)."""
    def add(**fields):
        name, password = user(**{"port": backend.pop3_port, **fields})
        with Imap(backend.port) as client:
            owner = fields.get("destuser", name)
            assert client.login(owner, password).startswith("OK"), owner
            client.send("a APPEND INBOX {37+}\r\nSubject: through\r\n\r\nthe pop3 gate..\r\n\r\n")
            assert " OK " in client.answer("a")[-1]
        return name, password
    return add


def session(client):
    """What a client does with one message, from STAT to QUIT."""
    assert re.fullmatch(r"\+OK 1 \d+", client.command("STAT"))
    assert client.listing("TOP 1 1")[0] == "Subject: through"
    assert client.command("NOOP").startswith("+OK")
    assert client.command("QUIT").startswith("+OK")
    assert client.at_end()


class TestAccepted:
    def test_user_and_pass(self, gate, account):
        name, password = account()
        gate.start()
        with Pop3(gate.pop3_port) as client:
            assert client.greeting == "+OK Postern ready."
            assert client.login(name, password) == "+OK Logged in."
            session(client)
        gate.wait_log(rf"pop3-login: Info: proxy\({name},127.0.0.1:\d+\): Started proxying to <127.0.0.1> "
                      rf"\(\d+\.\d+ secs\): user=<{name}>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, secured, session=<")
        gate.wait_log(rf"pop3-login: Info: proxy\({name},127.0.0.1:\d+\): Disconnected by server \(0s idle, in=\d+, out=\d+\)")

    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
    def test_auth_with_a_challenge(self, gate, account, mechanism):
        name, password = account()
        gate.start()
        words = [plain(name, password)] if mechanism == "PLAIN" else [
            base64.b64encode(word.encode()).decode() for word in (name, password)]
        with Pop3(gate.pop3_port) as client:
            assert client.command(f"auth {mechanism.lower()}").startswith("+ ")
            for word in words[:-1]:
                assert client.command(word).startswith("+ ")
            assert client.command(words[-1]) == "+OK Logged in."
            session(client)

    def test_auth_with_an_initial_response(self, gate, account):
        name, password = account()
        gate.start()
        with Pop3(gate.pop3_port) as client:
            assert client.command(f"AUTH PLAIN {plain(name, password)}") == "+OK Logged in."

    def test_capabilities_and_mechanisms_follow_the_connection(self, gate, tls):
        gate.settings["disable_plaintext_auth"] = "yes"
        gate.start()
        base = ["CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE"]
        with Pop3(gate.pop3_port, source=SOURCE) as client:
            assert client.listing("CAPA") == [*base, "STLS", "SASL"]
            assert client.listing("AUTH") == []
            client.stls(tls)
            assert client.listing("CAPA") == [*base, "USER", "SASL PLAIN LOGIN"]
            assert client.listing("AUTH") == ["PLAIN", "LOGIN"]
            assert client.command("STLS") == "-ERR TLS is already active."

    @pytest.mark.parametrize("way", ["stls", "implicit"])
    def test_tls(self, gate, account, tls, way):
        name, password = account()
        gate.start()
        with Pop3(gate.pop3_port if way == "stls" else gate.pop3s_port, None if way == "stls" else tls) as client:
            if way == "stls":
                client.stls(tls)
            assert client.login(name, password) == "+OK Logged in."
            session(client)
        gate.wait_log(rf"pop3-login: Info: .*Started proxying.*user=<{name}>.*, TLS, session=")

    def test_commands_pipelined_behind_the_login_reach_the_backend_once_T_USR_01(self, gate, account):
        name, password = account()
        gate.start()
        with Pop3(gate.pop3_port) as client:
            client.send(f"USER {name}\r\nPASS {password}\r\nSTAT\r\nDELE 1\r\nSTAT\r\nQUIT\r\n")
            lines = []
            while line := client.line():
                lines.append(line)
            assert len(lines) == 6 and lines[:2] == ["+OK", "+OK Logged in."], lines
            assert lines[2].startswith("+OK 1 ") and lines[4] == "+OK 0 0", lines

    def test_a_second_attempt_on_the_same_connection(self, gate, account):
        name, password = account()
        gate.start()
        with Pop3(gate.pop3_port) as client:
            assert client.login(name, "wrong-first") == FAILED
            assert client.command(f"PASS {password}") == "-ERR No username given."
            assert client.login(name, password) == "+OK Logged in."

    @pytest.mark.parametrize("fields", [{"starttls": "any-cert"}, {"ssl": "any-cert"}, {"proxy_mech": "PLAIN"},
                                        {"proxy_mech": "login"}, {"destuser": "popuser"}],
                             ids=lambda fields: "-".join(fields.values()))
    def test_ways_to_log_in_at_the_backend(self, gate, account, backend, fields):
        if "ssl" in fields:
            fields = fields | {"port": backend.pop3s_port}
        name, password = account(**fields)
        gate.start()
        with Pop3(gate.pop3_port) as client:
            assert client.login(name, password) == "+OK Logged in."
            session(client)

    def test_a_master_user_at_the_backend(self, gate, account, backend):
        backend.add_master("pop3master", "pw-of-pop3master")
        name, password = account()
        gate.add_user(name, password, proxy="y", host="127.0.0.1", port=backend.pop3_port, master="pop3master",
                      **{"pass": "pw-of-pop3master"})
        gate.start()
        with Pop3(gate.pop3_port) as client:
            assert client.login(name, password) == "+OK Logged in."
            session(client)

    def test_the_backend_knows_address_and_session_of_the_client(self, gate, account, backend):
        gate.settings["disable_plaintext_auth"] = "no"
        name, password = account()
        gate.start()
        with Pop3(gate.pop3_port, source=("127.0.0.7", 0)) as client:
            assert client.login(name, password) == "+OK Logged in."
        ours = gate.wait_log(rf"Started proxying.*user=<{name}>")
        number = re.search(r"session=<([^>]+)>", ours).group(1)
        assert "rip=127.0.0.7" in ours
        theirs = next(line for line in backend.log_text().splitlines() if f"user=<{name}>" in line and "pop3-login" in line)
        assert "rip=127.0.0.7" in theirs and f"session=<{number}>" in theirs

    def test_a_trusted_hop_is_believed_and_passed_on(self, gate, account, backend):
        gate.settings["login_trusted_networks"] = "127.0.0.8"
        name, password = account()
        gate.start()
        with Pop3(gate.pop3_port, source=("127.0.0.8", 0)) as client:
            assert client.greeting == "+OK [XCLIENT] Postern ready."
            assert client.command("XCLIENT ADDR=192.0.2.55 PORT=7 SESSION=from-hop TTL=3") == "+OK Updated"
            assert client.command("XCLIENT ADDR=192.0.2.66 PORT=0") == "-ERR Invalid parameters"
            assert client.login(name, password) == "+OK Logged in."
        assert "rip=192.0.2.55" in gate.wait_log(rf"Started proxying.*user=<{name}>.*session=<from-hop>")
        theirs = next(line for line in backend.log_text().splitlines() if f"user=<{name}>" in line and "pop3-login" in line)
        assert "rip=192.0.2.55" in theirs and "session=<from-hop>" in theirs

    def test_imap_and_pop3_side_by_side_as_posternctl_shows_them(self, gate, account, backend, user):
        name, password = account()
        other, secret = user()
        gate.start()
        with Pop3(gate.pop3_port) as client, Imap(gate.port) as second:
            assert client.login(name, password) == "+OK Logged in."
            assert second.login(other, secret).startswith("OK")
            out = gate.ctl("proxy", "list").out
            assert re.search(rf"{name}\s+pop3\s", out) and re.search(rf"{other}\s+imap\s", out), out
            assert gate.ctl("kick", name).code == 0
            assert client.at_end()
            assert " OK " in second.command("NOOP")[-1]


class TestPoplib:
    def test_reads_and_deletes_after_stls(self, gate, account, tls):
        name, password = account()
        gate.start()
        client = poplib.POP3("localhost", gate.pop3_port, timeout=20)
        assert "STLS" in client.capa()
        client.stls(tls)
        client.user(name)
        client.pass_(password)
        assert client.stat()[0] == 1
        assert b"the pop3 gate.." in client.retr(1)[1]
        client.dele(1)
        client.quit()


class TestRefused:
    def test_wrong_password_and_unknown_user_read_the_same(self, gate, account):
        name, _ = account()
        gate.start()
        with Pop3(gate.pop3_port) as client:
            assert client.login(name, "wrong-1") == FAILED
            assert client.login("nobody-knows-me", "wrong-2") == FAILED
            assert client.command(f"AUTH PLAIN {plain(name, 'wrong-3')}") == FAILED
            assert client.command("QUIT") == "+OK Logging out"
            assert client.at_end()
        gate.wait_log(r"pop3-login: Info: Disconnected: Aborted login by logging out \(auth failed, 3 attempts in \d+ secs\): "
                      rf"user=<{name}>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, secured, session=<")

    def test_passwords_in_clear_where_they_are_forbidden_T_TLS_01(self, gate, account):
        gate.settings["disable_plaintext_auth"] = "yes"
        name, password = account()
        gate.start()
        with Pop3(gate.pop3_port, source=SOURCE) as client:
            assert client.command(f"USER {name}") == REFUSED
            assert client.command(f"PASS {password}") == REFUSED
            assert client.command(f"AUTH PLAIN {plain(name, password)}") == "-ERR [AUTH] Plaintext authentication disabled."
        gate.wait_log(rf"Disconnected: Connection closed \(tried to use disallowed plaintext auth\): user=<{name}>")

    def test_mechanisms_that_are_not_there_and_what_is_no_base64(self, gate):
        gate.start()
        with Pop3(gate.pop3_port) as client:
            assert client.command("AUTH NTLM") == "-ERR [AUTH] Unsupported authentication mechanism."
            assert client.command("APOP joe 00000000000000000000000000000000") == "-ERR APOP not enabled."
            assert client.command("AUTH PLAIN !!!") == "-ERR [AUTH] Invalid base64 data in initial response"
            assert client.command("AUTH PLAIN") == "+ "
            assert client.command("A\tnologin") == "-ERR [AUTH] Invalid base64 in response"
            assert client.command("AUTH PLAIN") == "+ "
            assert client.command("*") == "-ERR Authentication aborted by client."

    def test_three_unknown_commands_in_a_row(self, gate):
        gate.start()
        with Pop3(gate.pop3_port) as client:
            client.send("STAT\r\nNOOP\r\nCAPA\r\nSTAT\r\nNOOP\r\nHELP\r\n")
            lines = []
            while line := client.line():
                lines.append(line)
            assert lines[-1] == "-ERR Too many invalid bad commands.", lines
        gate.wait_log(r"Disconnected: Disconnected: Too many bad commands \(no auth attempts in \d+ secs\)")

    def test_lines_without_end_T_NET_02(self, gate):
        gate.start()
        with Pop3(gate.pop3_port) as client:
            client.send("USER " + "x" * 3000)
            assert client.line() == "-ERR Input buffer full, aborting"
            assert client.at_end()
        with Pop3(gate.pop3_port) as client:
            client.send("AUTH PLAIN " + "A" * 9000)
            assert client.line() == "-ERR Authentication response too large"
            assert client.at_end()
        gate.wait_log(r"Disconnected: Authentication response too large .*method=PLAIN")

    def test_plaintext_glued_behind_stls_is_not_run_T_TLS_02(self, gate, tls):
        gate.start()
        with Pop3(gate.pop3_port) as client:
            client.send("STLS\r\nUSER injected\r\n")
            assert client.line() == "+OK Begin TLS negotiation now."
            assert client.at_end()
        gate.wait_log(r"Disconnected: Plaintext input after STARTTLS \(no auth attempts in \d+ secs\): user=<>")

    def test_who_never_logs_in_is_closed(self, gate):
        gate.settings["login_timeout"] = "1 s"
        gate.start()
        with Pop3(gate.pop3_port) as client:
            assert client.line() == "-ERR Disconnected for inactivity."
            assert client.at_end()
        gate.wait_log(r"pop3-login: Info: Disconnected: Inactivity \(no auth attempts in \d+ secs\)")

    def test_users_with_nologin_and_those_whose_mail_is_here(self, gate):
        gate.add_user("closed", "pw-closed-1", nologin="y")
        gate.add_user("local", "pw-local-12")
        gate.start()
        with Pop3(gate.pop3_port) as client:
            assert client.login("closed", "pw-closed-1") == "-ERR [AUTH] Login disabled for this user"
            assert client.login("local", "pw-local-12") == (
                "-ERR [SYS/TEMP] Internal login failure. Refer to server log for more information.")
            assert client.at_end()


def send_to(gate, port, **fields):
    gate.add_user("u1", "pw-of-u1-3b9d", **{"proxy": "y", "host": "127.0.0.1", "port": port, **fields})
    gate.start()


def login(gate):
    """The answer, and how long it took; the connection is as usable as before."""
    with Pop3(gate.pop3_port, timeout=30) as client:
        begun = time.monotonic()
        reply = client.login("u1", "pw-of-u1-3b9d")
        seconds = time.monotonic() - begun
        assert client.listing("CAPA")
        return reply, seconds


class TestBackends:
    def test_connection_refused_is_tried_four_times(self, gate):
        port = free_port()
        send_to(gate, port)
        reply, seconds = login(gate)
        assert reply == UNAVAILABLE and 2.5 < seconds < 6
        gate.wait_log(rf"pop3-login: Error: proxy\(u1,127\.0\.0\.1:{port}\): connect\(127\.0\.0\.1, {port}\) failed: "
                      r"Connection refused \(after \d+ secs, 3 reconnects")

    @pytest.mark.parametrize("state", ["banner", "starttls", "xclient", "login1", "login2"])
    def test_silence_in_every_state_is_named_T_BCK_05(self, gate, fake_backend, state):
        def talk(talk):
            answers = {"banner": 0, "starttls": 1, "xclient": 1, "login1": 2, "login2": 3}[state]
            if answers:
                talk.send(GREETING)
            for _ in range(answers - 1):
                talk.line()
                talk.send(b"+OK\r\n")
            time.sleep(30)
        fields = {"starttls": "any-cert"} if state == "starttls" else {}
        send_to(gate, fake_backend(talk).port, proxy_timeout="2", **fields)
        reply, seconds = login(gate)
        assert reply == UNAVAILABLE and 1.5 < seconds < 5
        gate.wait_log(rf"proxy\(u1,127.0.0.1:\d+\): Login timed out in state={state} \(after 2 secs")

    @pytest.mark.parametrize("greeting", [b"-ERR busy\r\n", b"* OK imap\r\n", b"220 smtp.example\r\n", b"\0\1\2\r\n"])
    def test_a_wrong_banner_T_BCK_03(self, gate, fake_backend, greeting):
        gate.settings["login_proxy_max_reconnects"] = "0"
        send_to(gate, fake_backend(lambda talk: (talk.send(greeting), talk.line())).port, proxy_timeout="2")
        assert login(gate)[0] == UNAVAILABLE
        gate.wait_log(r"Remote server sent invalid input: Invalid banner: ")

    @pytest.mark.parametrize("answer, reply", [
        (b"-ERR [IN-USE] Mailbox locked", "-ERR [IN-USE] Mailbox locked"),
        (b"-ERR [AUTH] wrong, says the backend", "-ERR [AUTH] wrong, says the backend"),
        (b"-ERR no such user u1", FAILED), (b"what?", "-ERR Authentication failed."),
        (b"-ERR [SYS/TEMP] try later", "-ERR [SYS/TEMP] try later")])
    def test_refusals_of_the_backend(self, gate, fake_backend, answer, reply):
        gate.settings["login_proxy_max_reconnects"] = "0"

        def talk(talk):
            talk.send(b"+OK hello <1.2@fake>\r\n")
            assert talk.line() == b"USER u1\r\n"
            talk.send(b"+OK\r\n")
            assert talk.line() == b"PASS pw-of-u1-3b9d\r\n"
            talk.send(answer + b"\r\n")
            talk.line()
        send_to(gate, fake_backend(talk).port)
        assert login(gate)[0] == reply
        gate.wait_log(r"pop3-login: Info: proxy\(u1,127.0.0.1:\d+\): Login failed: "
                      + re.escape(answer.decode().removeprefix("-ERR ")))

    def test_its_own_words_where_the_operator_wants_them(self, gate, fake_backend):
        gate.settings["proxy_hide_auth_errors"] = "no"

        def talk(talk):
            talk.send(b"+OK hello\r\n")
            talk.line()
            talk.send(b"-ERR no such user u1\r\n")
            talk.line()
        send_to(gate, fake_backend(talk).port)
        assert login(gate)[0] == "-ERR no such user u1"

    def test_a_temporary_failure_is_tried_again(self, gate, fake_backend):
        def talk(talk):
            talk.send(b"+OK hello\r\n")
            talk.line()
            talk.send(b"+OK\r\n")
            talk.line()
            if talk.backend.connections < 2:
                talk.send(b"-ERR [SYS/TEMP] try later\r\n")
                return
            talk.send(b"+OK in\r\n")
            talk.line()
        send_to(gate, fake_backend(talk).port)
        with Pop3(gate.pop3_port) as client:
            assert client.login("u1", "pw-of-u1-3b9d") == "+OK in"

    def test_a_refused_xclient_is_not_tried_again(self, gate, fake_backend):
        def talk(talk):
            talk.send(GREETING)
            assert talk.line().startswith(b"XCLIENT ADDR=127.0.0.1 PORT=")
            talk.send(b"-ERR You are not from trusted IP\r\n")
            talk.line(), talk.line()
        fake = fake_backend(talk)
        send_to(gate, fake.port)
        reply, seconds = login(gate)
        assert reply == MISCONFIGURED and seconds < 2 and fake.connections == 1
        gate.wait_log(r"Aborting due to remote server: XCLIENT failed: -ERR You are not from trusted IP: user=<u1>")

    @pytest.mark.parametrize("glued", [False, True])
    def test_no_password_without_the_tls_that_was_asked_for_T_TLS_03(self, gate, fake_backend, glued):
        gate.settings["login_proxy_max_reconnects"] = "0"

        def talk(talk):
            talk.send(b"+OK hello\r\n")
            talk.line()
            talk.send(b"+OK\r\n+OK Logged in.\r\n" if glued else b"-ERR no TLS here\r\n")
            talk.line()
        fake = fake_backend(talk)
        send_to(gate, fake.port, starttls="any-cert")
        assert login(gate)[0] == UNAVAILABLE
        assert fake.received == b"STLS\r\n"
        gate.wait_log("Input behind the reply to STARTTLS" if glued else "STLS failed: -ERR no TLS here")

    def test_an_answer_before_it_was_asked_T_BCK_03(self, gate, fake_backend):
        gate.settings["login_proxy_max_reconnects"] = "0"
        fake = fake_backend(lambda talk: (talk.send(b"+OK hello\r\n+OK\r\n+OK Logged in.\r\n"), talk.line()))
        send_to(gate, fake.port)
        assert login(gate)[0] == UNAVAILABLE
        assert b"PASS" not in fake.received

    def test_a_flood_instead_of_a_banner_T_BCK_02(self, gate, fake_backend):
        gate.settings["login_proxy_max_reconnects"] = "0"
        send_to(gate, fake_backend(lambda talk: [talk.send(b"x" * 65536) for _ in range(200)]).port)
        assert login(gate)[0] == UNAVAILABLE
        gate.wait_log("Too long input line")

    def test_a_password_with_a_line_end_goes_nowhere(self, gate, fake_backend):
        fake = fake_backend(lambda talk: (talk.send(GREETING), talk.line()))
        send_to(gate, fake.port, **{"pass": "a\r\nDELE 1"})
        assert login(gate)[0] == UNAVAILABLE
        assert fake.received == b""


def knows(secret):
    """What an auth server says that knows one password."""
    def answer(fields):
        challenge, name, digest = base64.b64decode(fields[-1].removeprefix("resp=")).split(b"\0", 2)
        good = hashlib.md5(challenge + secret).digest() == digest
        return (f"OK\t{fields[1]}\tuser={name.decode()}\tnologin\treason=APOP is right" if good
                else f"FAIL\t{fields[1]}\tuser={name.decode()}")
    return answer


class TestApop:
    """Postern's own auth has it, too: test_mechanisms.py."""

    @pytest.fixture
    def scripted(self, gate):
        auth = ScriptedAuth(gate.directory / "auth.sock", ["PLAIN", "APOP"], knows(b"tanstaaf"))
        gate.settings["auth_socket_path"] = str(gate.directory / "auth.sock")
        gate.settings["protocols"] = "pop3 imap"
        gate.start()
        yield auth
        auth.close()

    @staticmethod
    def apop(client, secret):
        challenge = re.search(r" (<[0-9a-f]+\.[0-9a-f]+\.[0-9a-f]+\.[A-Za-z0-9+/=]+@[^>]+>)$", client.greeting).group(1)
        return client.command("APOP joe " + hashlib.md5(challenge.encode() + secret).hexdigest())

    def test_is_asked_of_auth_with_the_challenge_of_the_greeting(self, gate, scripted):
        with Pop3(gate.pop3_port) as client:
            assert self.apop(client, b"tanstaaf") == "-ERR [AUTH] APOP is right"
            request = scripted.requests.get(timeout=5)
            assert request[2] == "APOP" and "service=pop3" in request
            assert self.apop(client, b"other") == FAILED
            assert "APOP" not in " ".join(client.listing("CAPA"))
            assert client.command("AUTH APOP") == "-ERR [AUTH] Unsupported authentication mechanism."
            assert client.command("APOP joe zz") == "-ERR Invalid parameters."
        gate.wait_log(r"pop3-login: Info: APOP failed: Invalid parameters: user=<joe>")

    def test_every_greeting_has_its_own_challenge(self, gate, scripted):
        with Pop3(gate.pop3_port) as first, Pop3(gate.pop3_port) as second:
            assert first.greeting != second.greeting

    def test_ends_with_the_connection_that_the_challenge_was_for(self, gate, scripted):
        with Pop3(gate.pop3_port) as client:
            wait_for("imap-login and pop3-login", lambda: scripted.connections == 2)
            scripted.drop()  # whichever is whose
            wait_for("both again", lambda: scripted.connections == 4)
            time.sleep(0.3)
            assert self.apop(client, b"tanstaaf") == ""
        gate.wait_log(r"Disconnected: Reconnected to auth server, can't do APOP \(no auth attempts in \d+ secs\)")
