"""TLS sessions that are resumed, and those that must not be."""
import os
import ssl
import time

import pytest

from harness.imap import Imap, trusting
from harness.openssl import s_client
from harness.pop3 import Pop3
from harness.sieve import Sieve
from harness.smtp import Smtp

MODES = {"one process a client": {"service_count": "1", "client_limit": "1", "process_limit": "50"},
         "several processes": {"service_count": "0", "process_min_avail": "3", "client_limit": "1", "process_limit": "10"}}
DOORS = {"imap": (Imap, "port", "starttls"), "imaps": (Imap, "tls_port", None), "pop3": (Pop3, "pop3_port", "stls"), "pop3s": (Pop3, "pop3s_port", None),
         "submission": (Smtp, "submission_port", "starttls"), "submissions": (Smtp, "submissions_port", None),
         "sieve": (Sieve, "sieve_port", "starttls"), "sieves": (Sieve, "sieves_port", None)}
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@pytest.fixture
def gate(postern):
    postern.settings["protocols"] = "imap pop3 submission sieve"
    return postern


class Visitor:
    """A client that keeps its session."""

    def __init__(self, authority, version="1.3"):
        self.context = trusting(authority.cert)
        self.context.minimum_version = self.context.maximum_version = VERSIONS[version]
        self.session = None

    def connect(self, gate, door):
        """Was the session resumed? Keeps the new one."""
        kind, port, begin_tls = DOORS[door]
        context, session = self.context, self.session

        class Resuming:  # what the harness's clients are given for a context
            @staticmethod
            def wrap_socket(plain, server_hostname):
                return context.wrap_socket(plain, server_hostname=server_hostname, session=session)
        with kind(getattr(gate, port), None if begin_tls else Resuming) as client:
            if begin_tls:
                getattr(client, begin_tls)(Resuming)
            client.send("a NOOP\r\n")
            client.line()  # with TLS 1.3 the ticket comes before it
            self.session = client.socket.session
            return client.socket.session_reused


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_door_resumes_its_own_T_TLS_08(gate, authority, mode, version):
    gate.service = MODES[mode]
    gate.start()
    for door in DOORS:
        visitor = Visitor(authority, version)
        assert not visitor.connect(gate, door)
        assert [visitor.connect(gate, door) for _ in range(3)] == [True] * 3, door


def test_no_door_resumes_anothers_T_TLS_07(gate, authority):
    gate.start()
    for first in DOORS:
        for second in DOORS:
            visitor = Visitor(authority)
            assert not visitor.connect(gate, first)
            assert visitor.connect(gate, second) == (first == second), (first, second)


def test_a_name_with_another_certificate_does_not_resume_T_TLS_07(gate, authority):
    other = authority.issue("other-name", ["localhost", "other.example"])
    gate.start()
    visitor = Visitor(authority)
    assert not visitor.connect(gate, "imaps")
    gate.extra = f"\n[local_name localhost]\nssl_cert = <{other.cert}\nssl_key = <{other.key}\n"
    gate.write_configuration()
    assert gate.ctl("reload").code == 0
    deadline = time.monotonic() + 10
    while visitor.connect(gate, "imaps") and time.monotonic() < deadline:
        time.sleep(0.1)  # the old generation still accepts for a moment
    visitor = Visitor(authority)
    assert not visitor.connect(gate, "imaps")
    assert visitor.connect(gate, "imaps")


def test_where_certificates_are_asked_for_nothing_is_resumed_T_TLS_07(gate, authority):
    gate.settings |= {"ssl_verify_client_cert": "yes", "ssl_ca": f"<{authority.cert}", "ssl_require_crl": "no"}
    gate.start()
    for version in VERSIONS:
        visitor = Visitor(authority, version)
        assert [visitor.connect(gate, "imaps") for _ in range(2)] == [False, False]


def test_a_reload_keeps_sessions(gate, authority):
    gate.service = MODES["one process a client"]
    gate.start()
    visitor = Visitor(authority)
    visitor.connect(gate, "imaps")
    assert gate.ctl("reload").code == 0
    assert visitor.connect(gate, "imaps")


@pytest.mark.parametrize("mode", MODES)
def test_keys_are_rotated_and_one_old_one_is_kept_T_TLS_08(gate, authority, mode):
    gate.service = MODES[mode]
    gate.settings["ssl_ticket_key_rotation"] = "3s"
    gate.start()
    visitor = Visitor(authority, "1.2")
    visitor.connect(gate, "imaps")
    first = visitor.session
    resumed, began = [], time.monotonic()
    while time.monotonic() < began + 8:
        visitor.session = first
        resumed.append((time.monotonic() - began, visitor.connect(gate, "imaps")))
        time.sleep(0.4)
    assert resumed[0][1], resumed
    assert all(was for when, was in resumed if when < 2.5), "while its key or the next is in use"
    assert not any(was for when, was in resumed if when > 6.6), "two keys later nobody can open it"


def test_hosts_with_one_file_of_keys_resume_each_others(make_postern, authority, directory):
    keys = directory / "ticket.keys"
    keys.write_bytes(os.urandom(80))
    gates = [make_postern(), make_postern()]
    for gate in gates:
        gate.settings |= {"ssl_ticket_keys": f"<{keys}", "ssl_cert_check_interval": "200 ms"}
        gate.start()
    visitor = Visitor(authority)
    assert not visitor.connect(gates[0], "imaps")
    assert visitor.connect(gates[1], "imaps")
    old = keys.read_bytes()
    keys.write_bytes(os.urandom(80) + old)
    for gate in gates:
        gate.wait_log("ticket.keys was read again")
    assert visitor.connect(gates[1], "imaps"), "the old key still opens"
    keys.write_bytes(os.urandom(70))
    gates[0].wait_log("ssl_ticket_keys: the file has 70 bytes.*; what was read before stays in use")
    assert visitor.connect(gates[0], "imaps")


def test_no_early_data_is_offered_T_NET_05(gate):
    gate.start()
    assert "Max Early Data: 0" in s_client(gate.tls_port, "-tls1_3", "-ign_eof", say="a LOGOUT\r\n")


class TestBeforeTls:
    """What plaintext may have shaped, and what it may not (T-TLS-05)."""

    def test_failures_count_on_T_TLS_05(self, gate, authority, user):
        name, _ = user()
        gate.settings["login_max_auth_attempts"] = "3"
        gate.start()
        with Imap(gate.port) as client:
            for _ in range(2):
                assert client.login(name, "wrong-word-1").startswith("NO ")
            client.starttls(trusting(authority.cert))
            client.send(f'x LOGIN {name} "wrong-word-2"\r\n')
            assert client.line().startswith("x NO ")
            assert client.line() == "* BYE Too many failed authentications"

    def test_bad_commands_count_on_T_TLS_05(self, gate, authority):
        gate.start()
        with Imap(gate.port) as client:
            for _ in range(2):
                assert " BAD " in client.command("NONSENSE")[-1]
            client.starttls(trusting(authority.cert))
            client.send("x NONSENSE\r\n")
            assert any("Too many invalid" in client.line() for _ in range(2))

    def test_capabilities_are_new_T_TLS_05(self, gate, authority):
        gate.start()
        with Imap(gate.port, source=("127.0.0.5", 0)) as client:
            assert "STARTTLS LOGINDISABLED" in client.command("CAPABILITY")[0]
            client.starttls(trusting(authority.cert))
            after = client.command("CAPABILITY")[0]
            assert "STARTTLS" not in after and "LOGINDISABLED" not in after and "AUTH=PLAIN" in after
        with Pop3(gate.pop3_port, source=("127.0.0.5", 0)) as client:
            assert "STLS" in client.listing("CAPA")
            client.stls(trusting(authority.cert))
            after = client.listing("CAPA")
            assert "STLS" not in after and "USER" in after

    def test_a_sasl_exchange_does_not_cross_T_TLS_05(self, gate, authority, user):
        name, password = user()
        gate.start()
        with Imap(gate.port) as client:
            client.send("a AUTHENTICATE LOGIN\r\n")
            assert client.line().startswith("+ ")
            client.send("b STARTTLS\r\n")  # a response, and no base64
            assert client.line().startswith("a BAD ")
            client.starttls(trusting(authority.cert))
            assert client.login(name, password).startswith("OK ")

    @pytest.mark.parametrize("door,own", [("imaps", ["imap"]), ("pop3s", ["pop3"]), ("submissions", ["submission", "smtp"]), ("sieves", ["managesieve"])])
    def test_each_protocol_answers_to_its_own_name_T_TLS_09(self, gate, authority, door, own):
        gate.start()
        kind, port, _ = DOORS[door]
        for offered in ("imap", "pop3", "submission", "smtp", "managesieve", "http/1.1", "h2"):
            context = trusting(authority.cert)
            context.set_alpn_protocols([offered])
            if offered in own:
                with kind(getattr(gate, port), context) as client:
                    assert client.socket.selected_alpn_protocol() == offered
                continue
            with pytest.raises((ssl.SSLError, OSError)):
                kind(getattr(gate, port), context)
