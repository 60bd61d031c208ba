"""Backends that are away, refuse, lie or break: what the client reads and the log says."""
import re
import socket
import ssl
import time

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from harness import fake_backend as fakes
from harness.imap import Imap
from harness.procs import free_port, wait_for

UNAVAILABLE = "NO [UNAVAILABLE] Account is temporarily unavailable."


def send_to(postern, port, **fields):
    """A user sent to a port of the test's choosing."""
    postern.add_user("u1", "pw-of-u1-3b9d", **{"proxy": "y", "host": "127.0.0.1", "port": port, **fields})
    postern.start()


def login(postern, timeout=30):
    with Imap(postern.port, timeout=timeout) as client:
        begun = time.monotonic()
        reply = client.login("u1", "pw-of-u1-3b9d")
        # The connection is as usable as before.
        assert " OK " in client.command("NOOP")[-1]
        return reply, time.monotonic() - begun


class TestAway:
    def test_connection_refused_is_tried_four_times(self, postern):
        port = free_port()
        send_to(postern, port)
        reply, seconds = login(postern)
        assert reply == UNAVAILABLE and 2.5 < seconds < 5
        postern.wait_log(rf"imap-login: Error: proxy\(u1,127\.0\.0\.1:{port}\): connect\(127\.0\.0\.1, {port}\) failed: "
                         r"Connection refused \(after \d+ secs, 3 reconnects.*\): user=<u1>, method=PLAIN, "
                         r"rip=127\.0\.0\.1, lip=127\.0\.0\.1, secured, session=<[A-Za-z0-9+/]+>")

    def test_without_retries_the_answer_comes_at_once(self, postern):
        postern.settings["login_proxy_max_reconnects"] = "0"
        send_to(postern, free_port())
        reply, seconds = login(postern)
        assert reply == UNAVAILABLE and seconds < 1.5

    def test_a_backend_that_never_greets_times_out_T_BCK_05(self, postern, fake_backend):
        send_to(postern, fake_backend(fakes.silent).port, proxy_timeout="2")
        reply, seconds = login(postern)
        assert reply == UNAVAILABLE and 1.5 < seconds < 4
        postern.wait_log(r"proxy\(u1,127.0.0.1:\d+\): Login timed out in state=/none \(after 2 secs")

    def test_a_port_where_connecting_hangs_times_out_T_BCK_05(self, postern):
        # A full queue: Linux then leaves the SYN unanswered.
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            fillers = []
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
                fillers.append(filler)
            send_to(postern, full.getsockname()[1], proxy_timeout="2")
            reply, seconds = login(postern)
            assert reply == UNAVAILABLE and 1.5 < seconds < 4
            postern.wait_log(r"proxy\(u1,127.0.0.1:\d+\): connect\(127.0.0.1, \d+\) failed: Connection timed out")
            for filler in fillers:
                filler.close()

    def test_a_host_name_that_does_not_exist_is_a_temporary_failure(self, postern):
        send_to(postern, 143, host="no-such-host.invalid")
        reply, _ = login(postern)
        assert reply.startswith("NO [UNAVAILABLE] "), reply

    def test_a_dead_backend_does_not_touch_sessions_with_a_live_one_T_BCK_09(self, postern, user, fake_backend):
        name, password = user()
        dead = fake_backend(lambda talk: talk.close_abruptly())
        send_to(postern, dead.port, proxy_timeout="2")
        with Imap(postern.port) as held:
            assert held.login(name, password).startswith("OK ")
            assert login(postern)[0] == UNAVAILABLE
            assert " OK " in held.command("NOOP")[-1]


class TestMisbehaving:
    @pytest.mark.parametrize("greeting", [b"* BYE too many connections\r\n", b"220 smtp.example ESMTP\r\n",
                                          b"* PREAUTH already in\r\n", b"\0\1\2\3\r\n"])
    def test_a_wrong_banner_T_BCK_03(self, postern, fake_backend, greeting):
        postern.settings["login_proxy_max_reconnects"] = "0"
        send_to(postern, fake_backend(lambda talk: (talk.send(greeting), talk.line())).port, proxy_timeout="2")
        assert login(postern)[0] == UNAVAILABLE
        postern.wait_log(r"Remote server sent invalid input: Invalid banner: ")

    def test_an_endless_banner_T_BCK_04(self, postern, fake_backend):
        postern.settings["login_proxy_max_reconnects"] = "0"

        def flood(talk):
            while True:
                talk.send(b"x" * 65536)
        send_to(postern, fake_backend(flood).port, proxy_timeout="3")
        assert login(postern)[0] == UNAVAILABLE
        postern.wait_log(r"Too long input line")

    def test_a_byte_at_a_time_does_not_restart_the_clock_T_BCK_04(self, postern, fake_backend):
        postern.settings["login_proxy_max_reconnects"] = "0"

        def drip(talk):
            for byte in b"* OK " + b"x" * 300:
                talk.send(bytes([byte]))
                time.sleep(0.1)
        send_to(postern, fake_backend(drip).port, proxy_timeout="2")
        reply, seconds = login(postern)
        assert reply == UNAVAILABLE and seconds < 4

    def test_success_before_the_question_is_not_believed_T_BCK_01(self, postern, fake_backend):
        postern.settings["login_proxy_max_reconnects"] = "0"
        port = fake_backend(lambda talk: (talk.send(b"* OK hello\r\nL OK come in\r\n"), time.sleep(3))).port
        send_to(postern, port, proxy_timeout="2")
        reply, _ = login(postern)
        assert not reply.startswith("OK"), reply

    def test_its_text_reaches_the_client_only_for_known_codes_T_BCK_02(self, postern, fake_backend):
        def refuse(talk):
            talk.send(fakes.GREETING)
            while True:
                line = talk.line()
                if line.startswith(b"L "):
                    talk.send(b"L NO click http://evil.example \x1b[31m\r\n")
        send_to(postern, fake_backend(refuse).port)
        assert login(postern)[0] == "NO [AUTHENTICATIONFAILED] Authentication failed."
        assert "\x1b" not in postern.log_text()

    def test_a_temporary_failure_is_tried_again(self, postern, fake_backend):
        count = [0]

        def busy_once(talk):
            count[0] += 1
            if count[0] > 1:
                return fakes.serve(talk)
            talk.send(fakes.GREETING)
            while True:
                line = talk.line()
                if line.startswith(b"L "):
                    talk.send(b"L NO [UNAVAILABLE] busy\r\n")
        send_to(postern, fake_backend(busy_once).port)
        assert login(postern)[0].startswith("OK ")
        postern.wait_log(r"Started proxying to <127\.0\.0\.1> \(\d\.\d{3} secs, 1 reconnects\)")

    def test_wrong_credentials_there_are_not_tried_again(self, postern, backend):
        postern.settings["auth_verbose"] = "yes"
        send_to(postern, backend.port)  # the backend does not know u1
        reply, seconds = login(postern)
        assert reply == "NO [AUTHENTICATIONFAILED] Authentication failed."
        assert seconds < 3
        postern.wait_log(r"imap-login: Info: Disconnected: .*\(proxy dest auth failed\)")


class TestCertificates:
    """With ssl=yes or starttls=yes the chain and the name are checked; any-cert is the one way round. T-TLS-04"""

    @pytest.fixture
    def tls_backend(self, fake_backend, authority):
        def make(way, label, names, **options):
            pair = authority.issue(f"fake-{way}-{label}", names, **options)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.cert, pair.key)

            def made(*arguments):
                backend = fake_backend(*arguments)
                backend.pair = pair
                return backend
            if way == "ssl":
                return made(fakes.serve, context)

            def starttls(talk):
                talk.send(fakes.GREETING)
                line = talk.line()
                while not line.upper().rstrip().endswith(b"STARTTLS"):
                    talk.send(line.split(b" ")[0] + b" OK\r\n")
                    line = talk.line()
                talk.send(line.split(b" ")[0] + b" OK begin\r\n")
                talk.starttls(context)
                fakes.serve(talk, b"")
            return made(starttls)
        return make

    @pytest.mark.parametrize("way", ["ssl", "starttls"])
    def test_a_good_one_is_accepted_T_TLS_04(self, postern, tls_backend, authority, way):
        postern.settings["ssl_client_ca_file"] = str(authority.cert)
        send_to(postern, tls_backend(way, "good", ["127.0.0.1"]).port, **{way: "yes"})
        assert login(postern)[0].startswith("OK ")

    @pytest.mark.parametrize("way", ["ssl", "starttls"])
    @pytest.mark.parametrize("label,names,options", [
        ("expired", ["127.0.0.1"], {"expired": True}),
        ("self-signed", ["127.0.0.1"], {"self_signed": True}),
        ("wrong-name", ["other.example", "127.0.0.9"], {}),
        ("name-for-an-address", ["localhost"], {}),
        ("wrong-purpose", ["127.0.0.1"], {"purpose": ExtendedKeyUsageOID.CLIENT_AUTH}),
        ("revoked", ["127.0.0.1"], {}),
        ("nul", ["localhost\0.example"], {})])
    def test_a_bad_one_gets_no_password_T_TLS_04(self, postern, tls_backend, authority, way, label, names, options):
        backend, host = tls_backend(way, label, names, **options), "localhost" if label == "nul" else "127.0.0.1"
        trusted = postern.directory / "ca.pem"
        trusted.write_text(authority.cert.read_text() + (authority.revocations(backend.pair.serial) if label == "revoked" else ""))
        postern.settings["ssl_client_ca_file"] = str(trusted)
        send_to(postern, backend.port, host=host, **{way: "yes"})
        reply, _ = login(postern)
        assert reply.startswith("NO ") and "AUTHENTICATIONFAILED" not in reply, reply
        assert b"pw-of-u1" not in backend.received
        postern.wait_log(r"imap-login: Error: proxy\(u1,127.0.0.1:\d+\): .*(certificate|expected host name)")

    @pytest.mark.parametrize("way", ["ssl", "starttls"])
    def test_any_cert_takes_a_bad_one_and_says_so_each_time_T_TLS_04(self, postern, tls_backend, way):
        send_to(postern, tls_backend(way, "any", ["other.example"], self_signed=True).port, **{way: "any-cert"})
        for _ in range(2):
            assert login(postern)[0].startswith("OK ")
        wait_for("a line for each", lambda: len(re.findall(
            r"imap-login: Info: proxy\(u1,127\.0\.0\.1:\d+\): The backend's certificate is not checked: user=<u1>", postern.log_text())) == 2)

    def test_a_real_dovecot_over_implicit_tls(self, postern, user, backend, authority):
        postern.settings["ssl_client_ca_file"] = str(authority.cert)
        name, password = user(port=backend.tls_port, ssl="yes")
        postern.start()
        with Imap(postern.port) as client:
            assert client.login(name, password).startswith("OK ")

    def test_a_real_dovecot_over_starttls(self, postern, user, authority):
        postern.settings["ssl_client_ca_file"] = str(authority.cert)
        name, password = user(starttls="yes")
        postern.start()
        with Imap(postern.port) as client:
            assert client.login(name, password).startswith("OK ")

    def test_starttls_that_is_not_offered_fails_closed_T_TLS_03(self, postern, fake_backend):
        backend = fake_backend(lambda talk: fakes.serve(talk, b"* OK [CAPABILITY IMAP4rev1 SASL-IR ID] plain only\r\n"))
        send_to(postern, backend.port, starttls="any-cert")
        assert login(postern)[0].startswith("NO ")
        assert b"pw-of-u1" not in backend.received and b"LOGIN" not in backend.received

    def test_starttls_that_is_refused_fails_closed_T_TLS_03(self, postern, fake_backend):
        postern.settings["login_proxy_max_reconnects"] = "0"

        def refuse(talk):
            talk.send(fakes.GREETING)
            while True:
                talk.send(talk.line().split(b" ")[0] + b" NO not now\r\n")
        backend = fake_backend(refuse)
        send_to(postern, backend.port, starttls="any-cert", proxy_timeout="3")
        assert login(postern)[0].startswith("NO ")
        assert b"pw-of-u1" not in backend.received

    def test_text_behind_its_starttls_reply_is_not_read_as_a_reply_T_TLS_02(self, postern, fake_backend):
        postern.settings["login_proxy_max_reconnects"] = "0"

        def inject(talk):
            talk.send(fakes.GREETING)
            while True:
                tag, _, word = talk.line().rstrip().partition(b" ")
                more = b"L OK [CAPABILITY IMAP4rev1] injected\r\n" if word.upper() == b"STARTTLS" else b""
                talk.send(tag + b" OK\r\n" + more)
        send_to(postern, fake_backend(inject).port, starttls="any-cert", proxy_timeout="3")
        assert login(postern)[0].startswith("NO ")


    def test_success_between_two_questions_is_not_believed_T_BCK_01(self, postern, fake_backend):
        postern.settings["login_proxy_max_reconnects"] = "0"

        def hasty(talk):  # without a list of capabilities LOGIN is only sent behind the reply to CAPABILITY
            talk.send(b"* OK hello\r\n")
            tag = talk.line().split(b" ")[0]
            talk.send(b"* CAPABILITY IMAP4rev1\r\n" + tag + b" OK done\r\nL OK come in\r\n")
            talk.line()
            time.sleep(3)
        send_to(postern, fake_backend(hasty).port, proxy_timeout="2")
        reply, _ = login(postern)
        assert reply == UNAVAILABLE
        postern.wait_log(r"Remote server sent invalid input: Answer before the command: L OK come in")

    def test_strange_codes_do_not_carry_its_text_and_alerts_can_be_turned_off_T_BCK_08(self, make_postern, fake_backend):
        def refuse(talk):
            talk.send(fakes.GREETING)
            while True:
                if talk.line().startswith(b"L "):
                    talk.send(b"* OK [ALERT] evil.example\r\nL NO [ALERT] evil.example\r\n")
        port = fake_backend(refuse).port
        for alerts in ("yes", "no"):
            postern = make_postern()
            postern.settings["proxy_alerts"] = alerts
            send_to(postern, port)
            with Imap(postern.port) as client:
                lines = client.command("LOGIN u1 pw-of-u1-3b9d")
            assert any("evil.example" in line for line in lines) == (alerts == "yes"), lines


class TestLoops:
    def test_used_up_hops_are_refused_and_named_T_USR_04(self, postern, user, backend):
        """Recorded: proxy-ttl-1."""
        name, password = user()
        postern.settings["login_trusted_networks"] = "127.0.0.0/8"
        postern.start()
        for ttl in (0, 1):
            with Imap(postern.port) as client:
                client.command(f'ID ("x-proxy-ttl" "{ttl}")')
                assert client.login(name, password) == "NO [SERVERBUG] Account is temporarily unavailable."
        postern.wait_log(rf"imap-login: Error: proxy\({name},127\.0\.0\.1:{backend.port}\): Aborting due to remote "
                         r"server: TTL reached zero - proxies appear to be looping\?: user=<")
        with Imap(postern.port) as client:
            client.command('ID ("x-proxy-ttl" "2")')
            assert client.login(name, password).startswith("OK ")

    def test_a_destination_that_is_our_own_listener_is_refused_T_USR_04(self, postern):
        postern.add_user("u1", "pw-of-u1-3b9d", proxy="y", host="127.0.0.1", port=postern.port)
        postern.start()
        assert login(postern)[0] == UNAVAILABLE
        postern.wait_log(r"imap-login: Error: proxy\(u1.*\): Proxying loops to itself")

    def test_our_own_other_listener_is_refused_too_T_USR_04(self, postern):
        postern.add_user("u1", "pw-of-u1-3b9d", proxy="y", host="127.0.0.1", port=postern.tls_port, ssl="any-cert",
                         destuser="u2")
        postern.start()
        assert login(postern)[0] == UNAVAILABLE
        postern.wait_log(r"Proxying loops to itself")

    def test_two_that_send_to_each_other_stop_after_a_few_hops_T_USR_04(self, make_postern):
        one, other = make_postern(), make_postern()
        for here, there in ((one, other), (other, one)):
            here.settings["login_trusted_networks"] = "127.0.0.0/8"
            here.settings["login_proxy_max_reconnects"] = "0"
            here.add_user("u1", "pw-of-u1-3b9d", proxy="y", host="127.0.0.1", port=there.port)
            here.start()
        reply, seconds = login(one)
        assert reply.startswith("NO "), reply
        assert seconds < 8
        # The second one sees that it would send the client back to where it came from.
        wait_for("one of them to say so", lambda: "Proxying loops to itself" in one.log_text() + other.log_text() or
                 "proxies appear to be looping" in one.log_text() + other.log_text())
