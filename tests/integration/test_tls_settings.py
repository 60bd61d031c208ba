"""What each TLS setting does, as openssl s_client sees it."""
import subprocess

import pytest

from harness.imap import Imap, trusting
from harness.openssl import negotiated, s_client

ECDSA = {"strong": "ECDHE-ECDSA-AES256-GCM-SHA384", "other": "ECDHE-ECDSA-AES128-GCM-SHA256"}


@pytest.fixture(scope="session")
def rsa_pair(authority):
    return authority.issue("rsa", ["localhost", "127.0.0.1"], use_rsa=True)


def use(postern, pair):
    postern.settings |= {"ssl_cert": f"<{pair.cert}", "ssl_key": f"<{pair.key}"}


class TestVersions:
    def test_tls_1_2_and_1_3_by_default(self, postern):
        postern.start()
        assert negotiated(postern.tls_port)["Protocol version"] == "TLSv1.3"
        assert negotiated(postern.tls_port, "-tls1_2")["Protocol version"] == "TLSv1.2"
        assert "Protocol version" not in negotiated(postern.tls_port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")

    def test_ssl_min_protocol(self, postern):
        postern.settings["ssl_min_protocol"] = "TLSv1.3"
        postern.start()
        assert "Protocol version" not in negotiated(postern.tls_port, "-tls1_2")
        assert negotiated(postern.tls_port, "-tls1_3")["Protocol version"] == "TLSv1.3"
        postern.wait_log("SSL_accept.. failed: .*unsupported protocol")

    def test_ssl_min_protocol_may_be_old(self, postern):
        postern.settings |= {"ssl_min_protocol": "TLSv1", "ssl_cipher_list": "ALL:@SECLEVEL=0"}
        postern.start()
        assert negotiated(postern.tls_port, "-tls1", "-cipher", "ALL:@SECLEVEL=0")["Protocol version"] == "TLSv1"


class TestCiphers:
    def test_ssl_cipher_list(self, postern):
        postern.settings["ssl_cipher_list"] = ECDSA["strong"]
        postern.start()
        assert negotiated(postern.tls_port, "-tls1_2")["Ciphersuite"] == ECDSA["strong"]
        assert "Ciphersuite" not in negotiated(postern.tls_port, "-tls1_2", "-cipher", ECDSA["other"])

    def test_ssl_cipher_suites(self, postern):
        postern.settings["ssl_cipher_suites"] = "TLS_CHACHA20_POLY1305_SHA256"
        postern.start()
        assert negotiated(postern.tls_port)["Ciphersuite"] == "TLS_CHACHA20_POLY1305_SHA256"
        assert "Ciphersuite" not in negotiated(postern.tls_port, "-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256")

    @pytest.mark.parametrize("ours,chosen", [("no", "other"), ("yes", "strong")])
    def test_ssl_prefer_server_ciphers(self, postern, ours, chosen):
        postern.settings |= {"ssl_cipher_list": f"{ECDSA['strong']}:{ECDSA['other']}", "ssl_prefer_server_ciphers": ours}
        postern.start()
        assert negotiated(postern.tls_port, "-tls1_2", "-cipher", f"{ECDSA['other']}:{ECDSA['strong']}")["Ciphersuite"] == ECDSA[chosen]

    def test_ssl_curve_list(self, postern):
        postern.settings["ssl_curve_list"] = "P-384"
        postern.start()
        assert "secp384r1" in negotiated(postern.tls_port)["Server Temp Key"]
        assert "Server Temp Key" not in negotiated(postern.tls_port, "-groups", "X25519")

    def test_ssl_dh(self, postern, rsa_pair):
        use(postern, rsa_pair)
        parameters = postern.directory / "dh.pem"
        subprocess.run(["openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out", parameters],
                       check=True, capture_output=True)
        only_dhe = ("-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384")
        postern.start()
        assert "Ciphersuite" not in negotiated(postern.tls_port, *only_dhe)
        postern.settings["ssl_dh"] = f"<{parameters}"
        postern.write_configuration()
        assert postern.ctl("reload").code == 0
        assert negotiated(postern.tls_port, *only_dhe)["Ciphersuite"] == "DHE-RSA-AES256-GCM-SHA384"


class TestCertificates:
    def test_of_two_kinds_the_client_gets_the_one_it_can_use(self, postern, server_pair, rsa_pair):
        """Recorded: imap-altcert-ecdsa."""
        use(postern, rsa_pair)
        postern.settings |= {"ssl_alt_cert": f"<{server_pair.cert}", "ssl_alt_key": f"<{server_pair.key}"}
        postern.start()
        for port, starttls in ((postern.tls_port, None), (postern.port, "imap")):
            assert negotiated(port, "-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384", starttls=starttls)["Signature type"].startswith("RSA")
            assert negotiated(port, "-tls1_2", "-cipher", ECDSA["strong"], starttls=starttls)["Signature type"] == "ECDSA"
            assert negotiated(port, "-sigalgs", "ECDSA+SHA256", starttls=starttls)["Signature type"] == "ECDSA"

    def test_two_of_one_kind_are_refused(self, postern, authority):
        other = authority.issue("same-kind", ["localhost"])
        postern.settings |= {"ssl_alt_cert": f"<{other.cert}", "ssl_alt_key": f"<{other.key}"}
        done = postern.check_configuration()
        assert done.code == 78 and "the two certificates have the same kind of key" in done.err

    def test_ssl_key_password(self, postern, server_pair):
        locked = postern.directory / "locked.key"
        subprocess.run(["openssl", "pkey", "-in", server_pair.key, "-aes256", "-passout", "pass:key-pass-1", "-out", locked], check=True)
        postern.settings |= {"ssl_key": f"<{locked}", "ssl_key_password": "key-pass-1"}
        postern.passwords.add("key-pass-1")
        postern.start()
        assert negotiated(postern.tls_port)["Protocol version"] == "TLSv1.3"

    def test_the_chain_is_sent_whole(self, postern, authority, server_pair):
        chain = postern.directory / "chain.pem"
        chain.write_text(server_pair.cert.read_text() + authority.cert.read_text())
        postern.settings["ssl_cert"] = f"<{chain}"
        postern.start()
        assert s_client(postern.tls_port, "-showcerts").count("BEGIN CERTIFICATE") >= 2


class TestNames:
    @pytest.fixture(autouse=True)
    def blocks(self, postern, authority):
        several = authority.issue("several", ["several.example"])
        wild = authority.issue("wild", ["wild.example"])
        strict = authority.issue("strict", ["strict.example"])
        postern.extra = (f"\n[local_name a.example b.example]\nssl_cert = <{several.cert}\nssl_key = <{several.key}\n"
                         f"\n[local_name *.example.net]\nssl_cert = <{wild.cert}\nssl_key = <{wild.key}\nlogin_greeting = By the wild name.\n"
                         f"\n[local_name strict.example]\nssl_cert = <{strict.cert}\nssl_key = <{strict.key}\nssl_curve_list = P-384\n"
                         f"ssl_cipher_suites = TLS_CHACHA20_POLY1305_SHA256\nssl_options = no_ticket\n")
        postern.start()

    @pytest.mark.parametrize("asked,served", [
        ("a.example", "several.example"), ("B.Example", "several.example"), ("one.example.net", "wild.example"),
        ("two.one.example.net", "localhost"), ("example.net", "localhost"), ("else.example", "localhost")])
    def test_choose_the_certificate(self, postern, asked, served):
        for port, starttls in ((postern.tls_port, None), (postern.port, "imap")):
            assert negotiated(port, "-servername", asked, starttls=starttls)["Peer certificate"] == f"CN = {served}"

    def test_without_a_name_the_first_is_served(self, postern):
        assert negotiated(postern.tls_port, "-noservername")["Peer certificate"] == "CN = localhost"

    def test_the_greeting_is_the_names(self, postern, authority):
        """Recorded: imap-sni-greeting; Dovecot 2.3 does so by chance, 2.4 always."""
        context = trusting(authority.cert)
        context.check_hostname = False
        with Imap(postern.tls_port, context, "one.example.net") as client:
            assert client.greeting.endswith("] By the wild name.")

    def test_bring_their_other_settings(self, postern):
        seen = negotiated(postern.tls_port, "-servername", "strict.example")
        assert seen["Ciphersuite"] == "TLS_CHACHA20_POLY1305_SHA256" and "secp384r1" in seen["Server Temp Key"]
        assert "New, TLSv1.3" in s_client(postern.tls_port, "-servername", "strict.example")
        assert "Session-ID-ctx" not in s_client(postern.tls_port, "-servername", "strict.example", say="a LOGOUT\r\n")


class TestLog:
    def test_verbose_ssl(self, postern):
        postern.settings["verbose_ssl"] = "yes"
        postern.start()
        negotiated(postern.tls_port)
        postern.wait_log(r"imap-login: Debug: SSL: where=0x10, ret=1: before SSL initialization \[127\.0\.0\.1\]")
        postern.wait_log(r"imap-login: Debug: SSL: where=0x2002, ret=1: SSL negotiation finished successfully \[127\.0\.0\.1\]")

    def test_is_silent_by_default(self, postern):
        postern.start()
        negotiated(postern.tls_port)
        assert "SSL: where" not in postern.log_text()

    def test_ssl_crypto_device_is_known_and_has_no_effect(self, postern):
        postern.settings["ssl_crypto_device"] = "auto"
        postern.start()
        assert "ssl_crypto_device" in postern.output()

    def test_ssl_options(self, postern):
        postern.settings["ssl_options"] = "no_compression no_such_word"
        done = postern.check_configuration()
        assert done.code == 78 and "no_such_word" in done.err

    def test_elements_say_how_it_was_secured(self, postern, authority):
        """%c and %k."""
        postern.settings["login_log_format_elements"] = "user=<%u> %c k=<%k> ln=%{local_name}"
        postern.start()
        with Imap(postern.tls_port, trusting(authority.cert)) as client:
            client.command("LOGOUT")
        postern.wait_log(r"Aborted login by logging out .*: user=<>, TLS, k=<TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 \(256/256 bits\)>, ln=localhost")
