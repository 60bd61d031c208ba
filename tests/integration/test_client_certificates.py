"""Certificates of clients: who is asked for one, what becomes of it, and whose name it gives."""
import base64
import os
import ssl

import pytest
from cryptography.x509.oid import NameOID

from harness.certificates import Authority
from harness.imap import Imap, trusting
from harness.pop3 import Pop3
from harness.smtp import Smtp

REFUSED = "NO [ALERT] Client didn't present valid SSL certificate"
NAMELESS = "NO [AUTHORIZATIONFAILED] Unable to validate certificate"


@pytest.fixture(scope="session")
def people(session_directory):
    """An authority that signs for people, not for servers."""
    return Authority(session_directory / "people", "People CA")


@pytest.fixture(scope="session")
def certuser(people):
    return people.issue("certuser", ["certuser"])


@pytest.fixture(scope="session")
def rogue(session_directory):
    return Authority(session_directory / "rogues", "Rogue CA").issue("rogue", ["certuser"])


@pytest.fixture
def gate(postern, people):
    """Asks for certificates that `people` signs."""
    postern.settings |= {"protocols": "imap pop3", "ssl_verify_client_cert": "yes", "ssl_ca": f"<{people.cert}", "ssl_require_crl": "no",
                         "auth_mechanisms": "plain external", "auth_failure_delay": "0"}
    return postern


def showing(authority, pair=None):
    """A client's context that shows `pair`."""
    context = trusting(authority.cert)
    if pair:
        context.load_cert_chain(pair.cert, pair.key)
    return context


def external(name=""):
    return "AUTHENTICATE EXTERNAL " + (base64.b64encode(name.encode()).decode() or "=")


def nobody_needs_a_password(gate):
    """A passdb that lets in by EXTERNAL alone, without a password."""
    columns = ", ".join(("proxy", "host", "port"))
    gate.passdbs = {"external": {"driver": "sql", "sql_driver": "sqlite", "connect": str(gate.database), "mechanisms": "external",
                                 "password_query": f"SELECT NULL AS password, 'y' AS nopassword, pass, {columns} FROM users WHERE user = '%u'"},
                    **gate.passdbs}


class TestOptional:
    def test_nobody_has_to_have_one(self, gate, authority, user):
        name, password = user()
        gate.start()
        with Imap(gate.tls_port, showing(authority)) as client:
            assert client.login(name, password).startswith("OK ")

    def test_a_bad_one_does_no_harm_and_no_good(self, gate, authority, user, rogue):
        name, password = user()
        gate.start()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = showing(authority, rogue)
            context.minimum_version = context.maximum_version = version
            with Imap(gate.tls_port, context) as client:
                assert client.login(name, password).startswith("OK ")
        gate.wait_log(r"Invalid client certificate: unable to get local issuer certificate: user=<>")

    def test_who_does_not_ask_is_not_shown_one(self, gate, authority, user, certuser):
        name, password = user()
        gate.settings |= {"ssl_verify_client_cert": "no", "auth_ssl_username_from_cert": "yes"}
        gate.start()
        with Imap(gate.tls_port, showing(authority, certuser)) as client:
            assert client.login(name, password).startswith("OK ")


class TestRequired:
    @pytest.fixture(autouse=True)
    def demand(self, gate):
        gate.settings |= {"auth_ssl_require_client_cert": "yes", "ssl_verify_client_cert": "no"}

    def test_without_one_nobody_gets_in(self, gate, authority, user):
        name, password = user()
        gate.start()
        with Imap(gate.tls_port, showing(authority)) as client:
            assert client.login(name, password) == REFUSED
        gate.wait_log(r"auth: Info: plain\(\?,127.0.0.1,<\S+>\): Client didn't present valid SSL certificate")
        gate.wait_log(r"imap-login: Info: Disconnected: Connection closed \(client didn't send a cert\): user=<>, method=PLAIN, "
                      r"rip=127.0.0.1, lip=127.0.0.1, TLS: Connection closed")

    def test_one_of_a_stranger_is_none(self, gate, authority, user, rogue):
        name, password = user()
        gate.start()
        with Imap(gate.tls_port, showing(authority, rogue)) as client:
            assert client.login(name, password) == REFUSED
        gate.wait_log(r"Disconnected: Connection closed \(client sent an invalid cert\): user=<>, method=PLAIN")

    def test_without_tls_there_can_be_none(self, gate, user):
        name, password = user()
        gate.start()
        with Imap(gate.port) as client:
            assert client.login(name, password) == REFUSED
        gate.wait_log(r"Disconnected: Connection closed \(cert required, client didn't start TLS\): user=<>, method=PLAIN, .*secured")

    @pytest.mark.parametrize("starttls", [False, True])
    def test_with_one_the_password_counts(self, gate, authority, user, certuser, starttls):
        name, password = user()
        gate.start()
        context = showing(authority, certuser)
        with Imap(gate.port if starttls else gate.tls_port, None if starttls else context) as client:
            if starttls:
                client.starttls(context)
            assert client.login(name, "wrong").startswith("NO [AUTHENTICATIONFAILED]")
            assert client.login(name, password).startswith("OK ")

    def test_pop3_is_no_way_round(self, gate, authority, backend, user, certuser):
        name, password = user(port=backend.pop3_port)
        gate.start()
        with Pop3(gate.pop3s_port, showing(authority)) as client:
            assert client.login(name, password) == "-ERR [AUTH] Client didn't present valid SSL certificate"
        with Pop3(gate.pop3s_port, showing(authority, certuser)) as client:
            assert client.login(name, password).startswith("+OK")

    def test_an_expired_one_is_none(self, gate, authority, people, user):
        name, password = user()
        gate.start()
        with Imap(gate.tls_port, showing(authority, people.issue("late", ["late"], expired=True))) as client:
            assert client.login(name, password) == REFUSED
        gate.wait_log("Invalid client certificate: certificate has expired")

    def test_revoked_and_without_a_list(self, gate, authority, people, user, certuser):
        name, password = user()
        revoked = people.issue("revoked", ["certuser"])
        with_list = gate.directory / "ca-with-list.pem"
        with_list.write_text(people.cert.read_text() + people.revocations(revoked.serial))
        gate.settings |= {"ssl_require_crl": "yes"}
        gate.start()
        with Imap(gate.tls_port, showing(authority, certuser)) as client:
            assert client.login(name, password) == REFUSED
        gate.wait_log("Invalid client certificate: unable to get certificate CRL")
        gate.settings["ssl_ca"] = f"<{with_list}"
        gate.write_configuration()
        assert gate.ctl("reload").code == 0
        with Imap(gate.tls_port, showing(authority, certuser)) as client:
            assert client.login(name, password).startswith("OK ")
        with Imap(gate.tls_port, showing(authority, revoked)) as client:
            assert client.login(name, password) == REFUSED
        gate.wait_log("Invalid client certificate: certificate revoked")


class TestName:
    @pytest.fixture(autouse=True)
    def from_certificate(self, gate):
        gate.settings |= {"auth_ssl_require_client_cert": "yes", "auth_ssl_username_from_cert": "yes"}

    @pytest.fixture
    def person(self, people, user):
        """A user of no other test, and a certificate in that name: (name, password, certificate)."""
        name = f"cert-{os.urandom(4).hex()}"
        _, password = user(name)
        return name, password, people.issue(name, [name])

    def test_it_replaces_the_name_in_the_login(self, gate, authority, person):
        name, password, certificate = person
        gate.add_user("alice", "alices-own-word")
        gate.start()
        with Imap(gate.tls_port, showing(authority, certificate)) as client:
            assert client.login("alice", "alices-own-word").startswith("NO [AUTHENTICATIONFAILED]")
            assert client.login("alice", password).startswith("OK ")
        gate.wait_log(rf"proxy\({name},.*Started proxying to .*user=<{name}>, method=PLAIN")

    def test_external_needs_no_password(self, gate, authority, user, person):
        name, password, certificate = person
        gate.add_user(name, password, **{"proxy": "y", "host": "127.0.0.1", "port": user.backend_port, "pass": password})
        nobody_needs_a_password(gate)
        gate.start()
        for authorize in ("", name, name.upper()):
            with Imap(gate.tls_port, showing(authority, certificate)) as client:
                assert "AUTH=EXTERNAL" in client.greeting
                assert client.command(external(authorize))[-1].partition(" ")[2].startswith("OK "), authorize
        gate.wait_log(rf"proxy\({name},.*Started proxying to .*user=<{name}>, method=EXTERNAL")

    def test_mail_without_auth_stands_for_external(self, gate, authority, backend, user, person):
        name, password, certificate = person
        gate.settings |= {"protocols": "imap submission", "submission_client_workarounds": "implicit-auth-external"}
        gate.add_user(name, password, **{"proxy": "y", "host": "127.0.0.1", "port": backend.submission_port, "pass": password})
        nobody_needs_a_password(gate)
        gate.start()
        with Smtp(gate.submissions_port, showing(authority, certificate)) as client:
            assert "AUTH PLAIN EXTERNAL" in client.ehlo()
            assert client.mail(f"{name}@example.com", "ann@example.com", f"Subject: {name}\n\nx").startswith("250 ")
        assert backend.sink.find(f"Subject: {name}")
        gate.wait_log(rf"submission-login: Info: proxy\({name},.*Started proxying to .*user=<{name}>, method=EXTERNAL")
        with Smtp(gate.submissions_port, showing(authority)) as client:
            assert client.command("MAIL FROM:<a@example.com>").startswith("535 5.7.8 ")

    def test_external_as_somebody_else_is_refused_T_USR_09(self, gate, authority, user, person):
        user("alice")
        nobody_needs_a_password(gate)
        gate.start()
        with Imap(gate.tls_port, showing(authority, person[2])) as client:
            assert " NO [AUTHENTICATIONFAILED]" in client.command(external("alice"))[-1]
        gate.wait_log("auth: Info: external.*Master user login attempted without master passdbs")

    def test_a_certificate_without_a_name_is_refused_T_USR_09(self, gate, authority, people, user):
        """The name in the login is not taken instead (CVE-2019-3814), by whatever mechanism, and auth is not asked."""
        name, password = user()
        subjects = {"none": [(NameOID.ORGANIZATION_NAME, "Nobody Inc")], "two lines": [(NameOID.COMMON_NAME, f"{name}\nx")],
                    "nul": [(NameOID.COMMON_NAME, f"{name}\0.example.org")]}
        gate.start()
        for label, subject in subjects.items():
            pair = people.issue(label.replace(" ", "-"), ["unused"], subject=subject)
            with Imap(gate.tls_port, showing(authority, pair)) as client:
                assert client.login(name, password) == NAMELESS, label
                plain = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
                assert client.command(f"AUTHENTICATE PLAIN {plain}")[-1].partition(" ")[2] == NAMELESS, label
                assert client.command(external(name))[-1].partition(" ")[2] == NAMELESS, label
        gate.wait_log(r"imap-login: Error: Cannot get username from certificate: Missing username in certificate: user=<>")
        assert "auth: Info" not in gate.log_text()

    def test_another_field_has_the_name(self, gate, authority, people, user):
        name, password = user()
        gate.settings["ssl_cert_username_field"] = "emailAddress"
        gate.start()
        pair = people.issue("mailbox", ["x"], subject=[(NameOID.COMMON_NAME, "Somebody"), (NameOID.EMAIL_ADDRESS, name)])
        with Imap(gate.tls_port, showing(authority, pair)) as client:
            assert client.login("whatever", password).startswith("OK ")


class TestConfiguration:
    @pytest.mark.parametrize("settings,complaint", [
        ({"ssl_verify_client_cert": "yes"}, "ssl_verify_client_cert is set, but ssl_ca is not"),
        ({"auth_ssl_require_client_cert": "yes"}, "auth_ssl_require_client_cert is set, but ssl_ca is not"),
    ])
    def test_certificates_need_a_ca(self, postern, settings, complaint):
        postern.settings |= settings
        done = postern.check_configuration()
        assert done.code == 78 and complaint in done.err

    def test_the_field_is_one(self, gate):
        gate.settings["ssl_cert_username_field"] = "mothersMaidenName"
        done = gate.check_configuration()
        assert done.code == 78 and "ssl_cert_username_field: there is no field mothersMaidenName" in done.err
