"""ManageSieve: scripts through Postern at a real Dovecot, what is refused, and backends that are away or misbehave."""
import base64
import re
import subprocess
import time

import pytest

from harness.imap import Imap
from harness.postern import installed
from harness.procs import free_port
from harness.sieve import Sieve, plain

FAILED = 'NO "Authentication failed."'
UNAVAILABLE = 'NO (TRYLATER) "Account is temporarily unavailable."'
MISCONFIGURED = 'NO "Account is temporarily unavailable."'
BAD = 'NO "Error in MANAGESIEVE command received by server."'
GREETING = b'"IMPLEMENTATION" "Fake"\r\n"SASL" "PLAIN"\r\n"STARTTLS"\r\n"XCLIENT"\r\n"VERSION" "1.0"\r\nOK "ready."\r\n'
SOURCE = ("127.0.0.5", 0)  # not the server's own address, so not secured
SCRIPT = 'require ["fileinto"];\r\nif header :contains "Subject" "gate" { fileinto "INBOX.gate"; }\r\n'


@pytest.fixture
def gate(postern):
    postern.settings["protocols"] = "imap sieve"
    return postern


@pytest.fixture
def account(backend, user):
    """A function that makes a user whose scripts are at the Dovecot backend: (name, password)."""
    def add(**fields):
        return user(**{"port": backend.sieve_port, **fields})
    return add


def session(client):
    """A script uploaded, listed, activated, fetched and taken away again."""
    assert client.command(f'PUTSCRIPT "gate" {{{len(SCRIPT)}+}}\r\n{SCRIPT}').startswith("OK")
    assert client.command('SETACTIVE "gate"').startswith("OK")
    client.send("LISTSCRIPTS\r\n")
    assert '"gate" ACTIVE' in client.answer()
    client.send('GETSCRIPT "gate"\r\n')
    fetched = client.answer()
    assert fetched[0] == f"{{{len(SCRIPT)}}}" and "\r\n".join(fetched[1:-1]).strip() == SCRIPT.strip(), fetched
    assert client.command('PUTSCRIPT "bad" "keep x;"').startswith("NO")
    assert client.command('SETACTIVE ""').startswith("OK")
    assert client.command('DELETESCRIPT "gate"').startswith("OK")
    assert client.command("LOGOUT").startswith("OK")
    assert client.at_end()


def capabilities(lines):
    return [line.split('"')[1] for line in lines[:-1]]


class TestAccepted:
    def test_an_initial_response_quoted_and_as_a_literal(self, gate, account):
        name, password = account()
        gate.start()
        response = plain(name, password)
        for form in (f'"{response}"', f"{{{len(response)}+}}\r\n{response}", f"{{{len(response)}}}\r\n{response}"):
            with Sieve(gate.sieve_port) as client:
                assert client.command(f'AUTHENTICATE "PLAIN" {form}') == 'OK "Logged in."'
                session(client)
        gate.wait_log(rf"managesieve-login: Info: proxy\({name},127.0.0.1:\d+\): Started proxying to <127.0.0.1> "
                      rf"\(\d+\.\d+ secs\): user=<{name}>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, secured, session=<")
        gate.wait_log(rf"managesieve-login: Info: proxy\({name},127.0.0.1:\d+\): Disconnected by server \(0s idle, in=\d+, out=\d+\)")

    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
    def test_mechanisms_of_one_step_and_two(self, gate, account, mechanism):
        name, password = account()
        gate.start()
        words = [plain(name, password)] if mechanism == "PLAIN" else [
            base64.b64encode(word.encode()).decode() for word in (name, password)]
        with Sieve(gate.sieve_port) as client:
            client.send(f'authenticate "{mechanism.lower()}"\r\n')
            for word in words:
                assert client.line().startswith('"')
                client.send(f'"{word}"\r\n')
            assert client.line() == 'OK "Logged in."'
            session(client)

    def test_a_response_in_pieces_CVE_2025_59032(self, gate, account):
        name, password = account()
        gate.start()
        response = plain(name, password)
        with Sieve(gate.sieve_port) as client:
            for piece in ("AUTHENTICATE \"PLAIN\" {", f"{len(response)}+}}\r", "\n", response[:7], response[7:], "\r", "\n"):
                client.send(piece)
                time.sleep(0.05)
            assert client.line() == 'OK "Logged in."'
            session(client)

    def test_capabilities_follow_the_connection(self, gate, tls):
        gate.settings |= {"disable_plaintext_auth": "yes", "managesieve_sieve_capability": "fileinto regex",
                          "managesieve_implementation_string": "A \"gate\""}
        gate.extra += "\n[protocol sieve]\nmanagesieve_notify_capability =\n"
        gate.start()
        with Sieve(gate.sieve_port, source=SOURCE) as client:
            first = ['"IMPLEMENTATION" "A \\"gate\\""', '"SIEVE" "fileinto regex"']
            assert client.greeting == [*first, '"SASL" ""', '"STARTTLS"', '"VERSION" "1.0"', 'OK "Postern ready."']
            client.send("CAPABILITY\r\n")
            assert client.answer()[:-1] == client.greeting[:-1]
            assert client.starttls(tls) == [*first, '"SASL" "PLAIN LOGIN"', '"VERSION" "1.0"', 'OK "TLS negotiation successful."']
            assert client.command("STARTTLS") == 'NO "TLS is already active."'

    def test_the_usual_capabilities_are_a_dovecots(self, gate, backend):
        gate.start()
        with Sieve(gate.sieve_port) as ours, Sieve(backend.sieve_port) as theirs:
            def of(lines):
                return {line.split('"')[1]: sorted(line.split('"')[3].split()) for line in lines if line.count('"') == 4}
            assert of(ours.greeting)["SIEVE"] == of(theirs.greeting)["SIEVE"]
            assert of(ours.greeting)["NOTIFY"] == of(theirs.greeting)["NOTIFY"]

    @pytest.mark.parametrize("way", ["starttls", "implicit"])
    def test_tls(self, gate, account, tls, way):
        name, password = account()
        gate.start()
        with Sieve(gate.sieve_port if way == "starttls" else gate.sieves_port, None if way == "starttls" else tls) as client:
            if way == "starttls":
                client.starttls(tls)
            assert client.login(name, password) == 'OK "Logged in."'
            session(client)
        gate.wait_log(rf"managesieve-login: Info: .*Started proxying.*user=<{name}>.*, TLS, session=")

    def test_commands_pipelined_behind_the_login_reach_the_backend_once_T_USR_01(self, gate, account):
        name, password = account()
        gate.start()
        with Sieve(gate.sieve_port) as client:
            client.send(f'AUTHENTICATE "PLAIN" "{plain(name, password)}"\r\nPUTSCRIPT "one" {{5+}}\r\nkeep;\r\n'
                        'RENAMESCRIPT "one" "two"\r\nLISTSCRIPTS\r\nDELETESCRIPT "two"\r\nNOOP "x"\r\nLOGOUT\r\n')
            lines = []
            while line := client.line():
                lines.append(line)
            assert [line.partition(" ")[0] for line in lines] == ["OK", "OK", "OK", '"two"', "OK", "OK", "OK", "OK"], lines
            assert lines[6] == 'OK (TAG "x") "Done"', lines

    def test_commands_pipelined_behind_a_failed_login_are_ours(self, gate, account):
        name, password = account()
        gate.start()
        with Sieve(gate.sieve_port) as client:
            client.send(f'AUTHENTICATE "PLAIN" "{plain(name, "not-it-1")}"\r\nNOOP "still here"\r\n')
            assert client.line() == FAILED
            assert client.line() == 'OK (TAG "still here") "Done"'
            assert client.login(name, password) == 'OK "Logged in."'

    def test_a_fresh_challenge_after_a_mistyped_password(self, gate, account):
        name, password = account()
        gate.start()
        with Sieve(gate.sieve_port) as client:
            for word, verdict in ((plain(name, "mistyped-1"), FAILED), (plain(name, password), 'OK "Logged in."')):
                client.send('AUTHENTICATE "PLAIN"\r\n')
                assert client.line() == '""'
                client.send(f'"{word}"\r\n')
                assert client.line() == verdict

    @pytest.mark.parametrize("fields", [{"starttls": "any-cert"}, {"ssl": "any-cert"}, {"proxy_mech": "PLAIN"},
                                        {"proxy_mech": "login"}, {"destuser": "sieveuser"}],
                             ids=lambda fields: "-".join(fields.values()))
    def test_ways_to_log_in_at_the_backend(self, gate, account, backend, fields):
        if "ssl" in fields:
            fields = fields | {"port": backend.sieves_port}
        name, password = account(**fields)
        gate.start()
        with Sieve(gate.sieve_port) as client:
            assert client.login(name, password) == 'OK "Logged in."'
            session(client)

    def test_a_master_user_at_the_backend(self, gate, account, backend):
        backend.add_master("sievemaster", "pw-of-sievemaster")
        name, password = account(master="sievemaster", **{"pass": "pw-of-sievemaster"})
        gate.start()
        with Sieve(gate.sieve_port) as client:
            assert client.login(name, password) == 'OK "Logged in."'
            session(client)

    def test_the_backend_knows_address_and_session_of_the_client(self, gate, account, backend):
        gate.settings["disable_plaintext_auth"] = "no"
        name, password = account()
        gate.start()
        with Sieve(gate.sieve_port, source=("127.0.0.7", 0)) as client:
            assert client.login(name, password) == 'OK "Logged in."'
        ours = gate.wait_log(rf"Started proxying.*user=<{name}>")
        number = re.search(r"session=<([^>]+)>", ours).group(1)
        assert "rip=127.0.0.7" in ours
        theirs = next(line for line in backend.log_text().splitlines() if f"user=<{name}>" in line and "managesieve-login" in line)
        assert "rip=127.0.0.7" in theirs and f"session=<{number}>" in theirs

    def test_a_trusted_hop_is_believed_and_passed_on(self, gate, account, backend):
        gate.settings["login_trusted_networks"] = "127.0.0.8"
        name, password = account()
        gate.start()
        with Sieve(gate.sieve_port, source=("127.0.0.8", 0)) as client:
            assert '"XCLIENT"' in client.greeting
            assert client.command("XCLIENT ADDR=192.0.2.55 PORT=7 SESSION=from-hop TTL=3") == 'OK "Updated"'
            assert client.command("XCLIENT ADDR=192.0.2.66 PORT=0") == BAD
            assert client.login(name, password) == 'OK "Logged in."'
        assert "rip=192.0.2.55" in gate.wait_log(rf"Started proxying.*user=<{name}>.*session=<from-hop>")
        theirs = next(line for line in backend.log_text().splitlines() if f"user=<{name}>" in line and "managesieve-login" in line)
        assert "rip=192.0.2.55" in theirs and "session=<from-hop>" in theirs

    def test_imap_and_sieve_side_by_side_as_posternctl_shows_them(self, gate, account, user):
        name, password = account()
        other, secret = user()
        gate.start()
        with Sieve(gate.sieve_port) as client, Imap(gate.port) as second:
            assert client.login(name, password) == 'OK "Logged in."'
            assert second.login(other, secret).startswith("OK")
            out = gate.ctl("proxy", "list").out
            assert re.search(rf"{name}\s+sieve\s", out) and re.search(rf"{other}\s+imap\s", out), out
            assert gate.ctl("kick", name).code == 0
            assert client.at_end()
            assert " OK " in second.command("NOOP")[-1]


@pytest.mark.skipif(not installed("sieve-connect"), reason="no sieve-connect")
class TestSieveConnect:
    def run(self, gate, authority, name, password, *action):
        return subprocess.run(["sieve-connect", "--server", "localhost", "--4", "--port", str(gate.sieve_port), "--user", name,
                               "--passwordfd", "0", "--tlscafile", str(authority.cert), *action],
                              input=password + "\n", capture_output=True, text=True, timeout=60)

    def test_keeps_a_script(self, gate, account, authority, tmp_path):
        name, password = account()
        gate.start()
        script = tmp_path / "through.sieve"
        script.write_text(SCRIPT.replace("\r\n", "\n"))
        for action in (["--localsieve", str(script), "--remotesieve", "through", "--upload"],
                       ["--remotesieve", "through", "--activate"]):
            done = self.run(gate, authority, name, password, *action)
            assert done.returncode == 0, (action, done.stdout, done.stderr)
        assert re.search(r"through.*ACTIVE", self.run(gate, authority, name, password, "--list").stdout)
        fetched = tmp_path / "fetched.sieve"
        done = self.run(gate, authority, name, password, "--remotesieve", "through", "--localsieve", str(fetched), "--download")
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert fetched.read_text().split() == SCRIPT.split()
        gate.wait_log(rf"managesieve-login: Info: .*Started proxying.*user=<{name}>.*, TLS, session=")

    def test_is_refused_with_a_wrong_password(self, gate, account, authority):
        name, _ = account()
        gate.start()
        done = self.run(gate, authority, name, "not-it", "--list")
        assert done.returncode != 0
        gate.wait_log(rf"managesieve-login: Info: Disconnected: .*auth failed, \d+ attempts.*user=<{name}>")


class TestSievelib:
    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
    def test_keeps_a_script(self, gate, account, mechanism):
        managesieve = pytest.importorskip("sievelib.managesieve")
        name, password = account()
        gate.start()
        client = managesieve.Client("127.0.0.1", gate.sieve_port)
        assert client.connect(name, password, starttls=False, authmech=mechanism)
        assert client.putscript("through", SCRIPT)
        assert client.setactive("through")
        assert client.listscripts()[0] == "through"
        assert client.getscript("through").split() == SCRIPT.split()
        client.logout()


@pytest.mark.skipif(not installed("openssl"), reason="no openssl")
def test_openssl_speaks_starttls_with_us(gate, account, authority):
    name, password = account()
    gate.start()
    done = subprocess.run(["openssl", "s_client", "-starttls", "sieve", "-quiet", "-verify_return_error", "-verify_hostname", "localhost",
                           "-CAfile", str(authority.cert), "-connect", f"127.0.0.1:{gate.sieve_port}"],
                          input=f'AUTHENTICATE "PLAIN" "{plain(name, password)}"\r\nLISTSCRIPTS\r\nLOGOUT\r\n',
                          capture_output=True, text=True, timeout=30)
    assert 'OK "TLS negotiation successful."' in done.stdout and 'OK "Logged in."' in done.stdout, (done.stdout, done.stderr)


class TestRefused:
    def test_wrong_password_and_unknown_user_read_the_same(self, gate, account):
        name, _ = account()
        gate.start()
        with Sieve(gate.sieve_port) as client:
            assert client.login(name, "wrong-1") == FAILED
            assert client.login("nobody-knows-me", "wrong-2") == FAILED
            assert client.login(name, "wrong-3") == FAILED
            assert client.command("LOGOUT") == 'OK "Logout completed."'
            assert client.at_end()
        gate.wait_log(r"managesieve-login: Info: Disconnected: Aborted login by logging out \(auth failed, 3 attempts in \d+ secs\): "
                      rf"user=<{name}>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, secured, session=<")

    def test_passwords_in_clear_where_they_are_forbidden_T_TLS_01(self, gate, account):
        gate.settings["disable_plaintext_auth"] = "yes"
        name, password = account()
        gate.start()
        with Sieve(gate.sieve_port, source=SOURCE) as client:
            assert client.login(name, password) == 'NO "Plaintext authentication disabled."'
        gate.wait_log(r"managesieve-login: Info: Disconnected: Connection closed \(tried to use disallowed plaintext auth\): user=<>, method=PLAIN")

    def test_anything_before_tls_where_it_is_required(self, gate):
        gate.settings["ssl"] = "required"
        gate.start()
        with Sieve(gate.sieve_port, source=SOURCE) as client:
            assert '"SASL" ""' in client.greeting
            assert client.login("u", "p") == 'NO (ENCRYPT-NEEDED) "Authentication not allowed until SSL/TLS is enabled."'

    def test_what_is_no_response(self, gate):
        gate.start()
        with Sieve(gate.sieve_port) as client:
            assert client.command('AUTHENTICATE "NTLM"') == 'NO "Unsupported authentication mechanism."'
            assert client.command('AUTHENTICATE "PLAIN" "!!!"') == 'NO "Invalid base64 data in initial response"'
            for line, answer in (('"A\tnologin"', 'NO "Invalid base64 in response"'), ('"*"', 'NO "Authentication aborted by client."'),
                                 ("*", 'NO "Invalid AUTHENTICATE client response."'),
                                 ("", 'NO "Received empty AUTHENTICATE client response line."')):
                client.send('AUTHENTICATE "PLAIN"\r\n')
                assert client.line() == '""'
                assert client.command(line) == answer
        gate.wait_log(r"managesieve-login: Info: Authenticate PLAIN failed: Received empty AUTHENTICATE client response line\.: user=<>")

    def test_three_bad_commands_and_no_more_from_a_literal(self, gate):
        gate.start()
        with Sieve(gate.sieve_port) as client:
            client.send('PUTSCRIPT "a" {8+}\r\nLOGOUT\r\n\r\nNOOP\r\nUNAUTHENTICATE\r\nHELP\r\nNOOP\r\n')
            lines = []
            while line := client.line():
                lines.append(line)
            assert lines == [BAD, 'OK "NOOP Completed"', BAD, 'BYE "Too many invalid MANAGESIEVE commands."']
        gate.wait_log(r"managesieve-login: Info: Disconnected: Too many invalid commands\. \(no auth attempts in \d+ secs\)")

    def test_sizes_and_lines_without_end_T_NET_02_CVE_2026_27858(self, gate):
        gate.start()
        for sent, answer, reason in (
                ('NOOP "' + "x" * 3000, 'BYE "Input buffer full, aborting"', "Input buffer full"),
                ("NOOP {99999+}\r\n", 'BYE "Literal size too large"', "Literal size too large"),
                ('PUTSCRIPT "a" {4294967295+}\r\n', 'BYE "Input buffer full, aborting"', "Input buffer full"),
                ('AUTHENTICATE "PLAIN" {4294967295+}\r\n', 'BYE "Authentication response too large"', "Authentication response too large"),
                ('AUTHENTICATE "PLAIN" "' + "A" * 9000, 'BYE "Authentication response too large"', "Authentication response too large")):
            with Sieve(gate.sieve_port) as client:
                client.send(sent)
                assert client.line() == answer
                assert client.at_end()
            gate.wait_log(rf"Disconnected: {reason} \(no auth attempts")

    def test_nuls_and_other_nonsense_CVE_2019_11500_CVE_2026_33605(self, gate):
        gate.start()
        for sent in (b'NOOP "\0"\r\n', b"N\0\0\r\n", b'AUTHENTICATE "PLAIN" {4+}\r\n\0\0\0\0\r\n', b"XCLIENT \0\r\n",
                     b'NOOP "\xff"\r\n', b'AUTHENTICATE {0+}\r\n "\0\r\n', b"((((((((\r\n", b"\r\r\r\n"):
            with Sieve(gate.sieve_port) as client:
                client.send(sent)
                assert client.line().startswith("NO ")
                assert client.command("NOOP") == 'OK "NOOP Completed"'

    def test_plaintext_glued_behind_starttls_is_not_run_T_TLS_02(self, gate):
        gate.start()
        with Sieve(gate.sieve_port) as client:
            client.send('STARTTLS\r\nNOOP "injected"\r\n')
            assert client.line() == 'OK "Begin TLS negotiation now."'
            assert client.at_end()
        gate.wait_log(r"managesieve-login: Info: Disconnected: Plaintext input after STARTTLS \(no auth attempts in \d+ secs\): user=<>")

    @pytest.mark.parametrize("state", ["command", "response"])
    def test_who_never_logs_in_is_closed(self, gate, state):
        gate.settings["login_timeout"] = "1 s"
        gate.start()
        with Sieve(gate.sieve_port) as client:
            if state == "response":
                client.send('AUTHENTICATE "PLAIN"\r\n')
                assert client.line() == '""'
            during = " during authentication" if state == "response" else ""
            assert client.line() == f'BYE "Disconnected for inactivity{during}."'
            assert client.at_end()
        gate.wait_log(rf"managesieve-login: Info: Disconnected: Inactivity{during} \(")

    def test_users_with_nologin_referrals_and_those_whose_mail_is_here(self, gate):
        gate.add_user("closed", "pw-closed-1", nologin="y")
        gate.add_user("moved", "pw-moved-12", nologin="y", host="192.0.2.7", port="4191")
        gate.add_user("local", "pw-local-12")
        gate.start()
        with Sieve(gate.sieve_port) as client:
            assert client.login("closed", "pw-closed-1") == 'NO "Login disabled for this user"'
            assert client.login("moved", "pw-moved-12") == (
                'NO (REFERRAL sieve://moved;AUTH=PLAIN@192.0.2.7:4191) "Try this server instead."')
            assert client.login("local", "pw-local-12") == 'BYE "Internal login failure. Refer to server log for more information."'
            assert client.at_end()


def send_to(gate, port, **fields):
    gate.add_user("u1", "pw-of-u1-3b9d", **{"proxy": "y", "host": "127.0.0.1", "port": port, **fields})
    gate.start()


def login(gate):
    """The answer, and how long it took; the connection is as usable as before."""
    with Sieve(gate.sieve_port, timeout=30) as client:
        begun = time.monotonic()
        reply = client.login("u1", "pw-of-u1-3b9d")
        seconds = time.monotonic() - begun
        assert client.command("CAPABILITY").startswith("OK")
        return reply, seconds


class TestBackends:
    def test_connection_refused_is_tried_four_times(self, gate):
        port = free_port()
        send_to(gate, port)
        reply, seconds = login(gate)
        assert reply == UNAVAILABLE and 2.5 < seconds < 6
        gate.wait_log(rf"managesieve-login: Error: proxy\(u1,127\.0\.0\.1:{port}\): connect\(127\.0\.0\.1, {port}\) failed: "
                      r"Connection refused \(after \d+ secs, 3 reconnects")

    @pytest.mark.parametrize("state", ["none", "tls-start", "xclient", "auth"])
    def test_silence_in_every_state_is_named_T_BCK_05(self, gate, fake_backend, state):
        def talk(talk):
            if state != "none":
                talk.send(GREETING)
                talk.line()
            if state == "auth":
                talk.send(b"OK\r\n")
            time.sleep(30)
        fields = {"starttls": "any-cert"} if state == "tls-start" else {}
        send_to(gate, fake_backend(talk).port, proxy_timeout="2", **fields)
        reply, seconds = login(gate)
        assert reply == UNAVAILABLE and 1.5 < seconds < 5
        gate.wait_log(rf"proxy\(u1,127.0.0.1:\d+\): Login timed out in state={state} \(after 2 secs")

    @pytest.mark.parametrize("greeting, reason", [
        (b'BYE "busy"\r\n', "Remote sent unexpected NO/BYE instead of capability response"),
        (b"* OK imap\r\n", r"Invalid capability response: \* OK imap"), (b"220 smtp.example\r\n", "Invalid capability response: 220"),
        (b"\0\1\2\r\n", "Invalid capability response: ")])
    def test_a_wrong_greeting_T_BCK_03(self, gate, fake_backend, greeting, reason):
        gate.settings["login_proxy_max_reconnects"] = "0"
        send_to(gate, fake_backend(lambda talk: (talk.send(greeting), talk.line())).port, proxy_timeout="2")
        assert login(gate)[0] == UNAVAILABLE
        gate.wait_log("Remote server sent invalid input: " + reason)

    @pytest.mark.parametrize("answer, reply, logged", [
        (b'NO "no such user u1"', FAILED, "no such user u1"), (b'NO {15+}\r\nno such user u1', FAILED, "no such user u1"),
        (b'NO (QUOTA) "full"', FAILED, "full"), (b'BYE (REFERRAL "sieve://192.0.2.1") "moved"', FAILED, 'BYE (REFERRAL "sieve'),
        (b'NO (TRYLATER) "storage down"', 'NO (TRYLATER) "storage down"', "storage down")])
    def test_refusals_of_the_backend(self, gate, fake_backend, answer, reply, logged):
        gate.settings["login_proxy_max_reconnects"] = "0"

        def talk(talk):
            talk.send(b'"SASL" "PLAIN"\r\nOK\r\n')
            assert talk.line() == b'AUTHENTICATE "PLAIN" "' + base64.b64encode(b"u1\0u1\0pw-of-u1-3b9d") + b'"\r\n'
            talk.send(answer + b"\r\n")
            talk.line()
        send_to(gate, fake_backend(talk).port)
        assert login(gate)[0] == reply
        gate.wait_log(r"managesieve-login: Info: proxy\(u1,127.0.0.1:\d+\): Login failed: " + re.escape(logged))

    def test_a_temporary_failure_is_tried_again(self, gate, fake_backend):
        def talk(talk):
            talk.send(b'"SASL" "PLAIN"\r\nOK\r\n')
            talk.line()
            if talk.backend.connections < 2:
                talk.send(b'NO (TRYLATER) "later"\r\n')
                return
            talk.send(b'OK (SASL "eA==") "in"\r\n')
            talk.line()
        send_to(gate, fake_backend(talk).port)
        with Sieve(gate.sieve_port) as client:
            assert client.login("u1", "pw-of-u1-3b9d") == 'OK "in"'

    def test_a_challenge_as_a_literal(self, gate, fake_backend):
        def talk(talk):
            talk.send(b'"SASL" "LOGIN"\r\nOK\r\n')
            assert talk.line() == b'AUTHENTICATE "LOGIN"\r\n'
            for word in (b"u1", b"pw-of-u1-3b9d"):
                talk.send(b"{4+}\r\neDo6\r\n")
                assert talk.line() == b'"' + base64.b64encode(word) + b'"\r\n'
            talk.send(b'OK "in"\r\n')
            talk.line()
        send_to(gate, fake_backend(talk).port, proxy_mech="LOGIN")
        with Sieve(gate.sieve_port) as client:
            assert client.login("u1", "pw-of-u1-3b9d") == 'OK "in"'

    def test_a_refused_xclient_is_not_tried_again(self, gate, fake_backend):
        def talk(talk):
            talk.send(GREETING)
            assert talk.line().startswith(b"XCLIENT ADDR=127.0.0.1 PORT=")
            talk.send(b'NO "You are not from trusted IP"\r\n')
            talk.line()
        fake = fake_backend(talk)
        send_to(gate, fake.port)
        reply, seconds = login(gate)
        assert reply == MISCONFIGURED and seconds < 2 and fake.connections == 1
        gate.wait_log(r'Aborting due to remote server: Remote XCLIENT failed: NO "You are not from trusted IP": user=<u1>')

    @pytest.mark.parametrize("case", ["refused", "glued", "not offered"])
    def test_no_password_without_the_tls_that_was_asked_for_T_TLS_03(self, gate, fake_backend, case):
        gate.settings["login_proxy_max_reconnects"] = "0"

        def talk(talk):
            talk.send(GREETING if case != "not offered" else b'"SASL" "PLAIN"\r\nOK\r\n')
            talk.line()
            talk.send(b'OK\r\nOK "Logged in."\r\n' if case == "glued" else b'NO "no TLS here"\r\n')
            talk.line()
        fake = fake_backend(talk)
        send_to(gate, fake.port, starttls="any-cert")
        assert login(gate)[0] == (MISCONFIGURED if case == "not offered" else UNAVAILABLE)
        assert fake.received == (b"" if case == "not offered" else b"STARTTLS\r\n")
        gate.wait_log({"refused": "Remote refused STARTTLS command", "glued": "Input behind the reply to STARTTLS",
                       "not offered": "Remote doesn't support STARTTLS"}[case])

    def test_an_answer_before_it_was_asked_T_BCK_03(self, gate, fake_backend):
        gate.settings["login_proxy_max_reconnects"] = "0"
        fake = fake_backend(lambda talk: (talk.send(GREETING + b'OK "Updated"\r\nOK "Logged in."\r\n'), talk.line()))
        send_to(gate, fake.port)
        assert login(gate)[0] == UNAVAILABLE
        assert b"AUTHENTICATE" not in fake.received

    def test_a_flood_instead_of_a_greeting_T_BCK_02(self, gate, fake_backend):
        gate.settings["login_proxy_max_reconnects"] = "0"
        send_to(gate, fake_backend(lambda talk: [talk.send(b"x" * 65536) for _ in range(200)]).port)
        assert login(gate)[0] == UNAVAILABLE
        gate.wait_log("Too long input line")
