"""TLS towards clients."""
import socket
import ssl

import pytest

from harness.imap import Imap, trusting


def subject(client):
    return dict(pair[0] for pair in client.socket.getpeercert()["subject"])["commonName"]


def test_the_name_the_client_asks_for_chooses_the_certificate(postern, authority, user):
    name, password = user()
    other = authority.issue("sni", ["mail.example.org"])
    postern.extra = f"\n[local_name mail.example.org]\nssl_cert = <{other.cert}\nssl_key = <{other.key}\n"
    postern.start()
    context = trusting(authority.cert)
    with Imap(postern.tls_port, context, "mail.example.org") as client:
        assert subject(client) == "mail.example.org"
        assert client.login(name, password).startswith("OK ")
    with Imap(postern.tls_port, context, "localhost") as client:
        assert subject(client) == "localhost"
    with Imap(postern.port) as client:
        client.starttls(context, "mail.example.org")
        assert subject(client) == "mail.example.org"


def test_unknown_names_get_the_default_T_NET_15(postern, authority):
    postern.start()
    context = trusting(authority.cert)
    context.check_hostname = False
    for number in range(20):
        with Imap(postern.tls_port, context, f"name-{number}.example") as client:
            assert subject(client) == "localhost"


@pytest.mark.parametrize("cut", range(0, 5))
def test_a_command_behind_starttls_is_never_executed_T_TLS_01(postern, cut):
    injected = b"b LOGIN someone secret-77\r\n"
    postern.passwords.add("secret-77")
    postern.start()
    whole = b"a STARTTLS\r\n" + injected
    where = (len(whole), 5, 11, 12, 13)[cut]
    with Imap(postern.port) as client:
        client.send(whole[:where])
        if whole[where:]:
            import time
            time.sleep(0.05)
            try:
                client.send(whole[where:])
            except OSError:
                pass
        text = client.socket.recv(65536)
        while True:
            try:
                more = client.socket.recv(65536)
            except OSError:
                break
            if not more:
                break
            text += more
        assert b"\r\nb " not in text and not text.startswith(b"b ")
    assert "someone" not in postern.log_text()


def test_old_protocol_versions_are_refused(postern, authority):
    postern.start()
    context = trusting(authority.cert)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, OSError)):
        Imap(postern.tls_port, context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_protocol_versions_work(postern, authority, user, version):
    name, password = user()
    postern.start()
    context = trusting(authority.cert)
    context.minimum_version = context.maximum_version = version
    with Imap(postern.tls_port, context) as client:
        assert client.login(name, password).startswith("OK ")


def test_sessions_are_resumed_by_another_process_T_TLS_08(postern, authority):
    postern.service = {"service_count": "1", "client_limit": "1", "process_limit": "50"}
    postern.start()
    context = trusting(authority.cert)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Imap(postern.tls_port, context) as client:
        session = client.socket.session
    raw = socket.create_connection(("127.0.0.1", postern.tls_port), 10)
    with context.wrap_socket(raw, server_hostname="localhost", session=session) as again:
        assert again.recv(100).startswith(b"* OK ")
        assert again.session_reused


def test_starttls_twice_is_refused(postern, tls):
    postern.start()
    with Imap(postern.port) as client:
        client.starttls(tls)
        assert client.command("STARTTLS")[-1].endswith("BAD TLS is already active.")


def test_a_plain_client_on_the_tls_port_is_closed(postern):
    postern.start()
    with socket.create_connection(("127.0.0.1", postern.tls_port), 10) as client:
        client.sendall(b"a LOGIN x y\r\n")
        data = client.recv(1000)
        assert b"* OK" not in data
    postern.wait_log(r"Disconnected: Connection closed: SSL_accept\(\) failed: .*(wrong version number|http request)")


def test_without_ssl_nothing_offers_it(postern):
    postern.settings["ssl"] = "no"
    postern.start()
    with Imap(postern.port) as client:
        assert "STARTTLS" not in client.greeting
        assert client.command("STARTTLS")[-1].endswith("BAD TLS support isn't enabled.")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", postern.tls_port)) != 0


def test_a_hello_in_the_same_packet_as_starttls_is_answered_T_TLS_01(postern, authority):
    """Dovecot gives everything behind STARTTLS to TLS; a client in a hurry does not notice that it should have waited."""
    postern.start()
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting(authority.cert).wrap_bio(into, out, server_hostname="localhost")
    with Imap(postern.port) as client:
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        client.send(b"a STARTTLS\r\n" + out.read())
        assert client.line() == "a OK Begin TLS negotiation now."
        shaken = False
        while not shaken:
            data = client._file.read1(65536)
            assert data, postern.log_text()
            into.write(data)
            try:
                tls.do_handshake()
                shaken = True
            except ssl.SSLWantReadError:
                pass
            client.send(out.read())
        tls.write(b"b NOOP\r\n")
        client.send(out.read())
        while True:
            try:
                assert tls.read(1000) == b"b OK NOOP completed.\r\n"
                break
            except ssl.SSLWantReadError:
                into.write(client._file.read1(65536))


@pytest.mark.parametrize("offered,agreed", [([], None), (["imap"], "imap"), (["h2", "imap"], "imap"), (["http/1.1"], ssl.SSLError)])
def test_another_protocol_by_alpn_is_refused_T_TLS_09(postern, authority, offered, agreed):
    postern.start()
    context = trusting(authority.cert)
    if offered:
        context.set_alpn_protocols(offered)
    if agreed is ssl.SSLError:
        with pytest.raises(ssl.SSLError):
            Imap(postern.tls_port, context)
        postern.wait_log(r"SSL_accept\(\) failed: .*no application protocol")
        return
    with Imap(postern.tls_port, context) as client:
        assert client.greeting.startswith("* OK ")
        assert client.socket.selected_alpn_protocol() == agreed
