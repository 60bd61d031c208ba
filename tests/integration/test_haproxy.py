"""Balancers in front of Postern: PROXY headers, from sockets of our own and from a real HAProxy."""
import re
import socket
import ssl
import subprocess
import time

import pytest

from harness.imap import Imap
from harness.pop3 import Pop3
from harness.procs import Child, free_port, wait_for
from test_transcripts import ScriptedAuth

BALANCER, STRANGER = "127.0.0.4", "127.0.0.2"
V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 143\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
INET = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + b"\x04\xd2\x00\x8f"


def tlv(kind, value):
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def v2(payload=INET, command=0x21, family=0x11):
    return SIGNATURE + bytes([command, family]) + len(payload).to_bytes(2, "big") + payload


def tls_of_balancer(client=0x01, verify=0, name=None):
    return tlv(0x20, bytes([client]) + verify.to_bytes(4, "big") + tlv(0x21, b"TLSv1.3") + (tlv(0x22, name) if name else b""))


class Behind:
    """Listeners of a Postern that only a balancer may use."""

    def __init__(self, postern):
        self.postern = postern
        postern.settings |= {"protocols": "imap pop3", "haproxy_trusted_networks": f"10.9.9.0/24, {BALANCER}"}
        self.imap, self.imaps, self.pop3 = free_port(), free_port(), free_port()
        for listener, port, more in (("imap-login imap-haproxy", self.imap, ""), ("imap-login imaps-haproxy", self.imaps, "ssl = yes\n"),
                                     ("pop3-login pop3-haproxy", self.pop3, "")):
            postern.extra += f"\n[inet_listener {listener}]\nport = {port}\nhaproxy = yes\n{more}"

    def client(self, header, port=None, source=BALANCER, greeting=True, kind=Imap):
        """A connection that begins with `header`."""
        client = kind(port or self.imap, greeting=False, source=(source, 0))
        client.send(header)
        client.greeting = client.line() if greeting else ""
        return client

    def refused(self, header, **options):
        """Closed without a word, whether with a reset or not?"""
        try:
            with self.client(header, greeting=False, **options) as client:
                return client.at_end()
        except (BrokenPipeError, ConnectionResetError):
            return True


@pytest.fixture
def behind(postern):
    return Behind(postern)


def test_the_client_is_the_one_of_the_header(behind, user):
    name, password = user()
    behind.postern.start()
    for header in (V1, v2()):
        with behind.client(header + b"a LOGOUT\r\n") as client:
            assert client.greeting.startswith("* OK ") and "LOGINDISABLED" in client.greeting
            assert client.answer("a")[-1].startswith("a OK ")
        behind.postern.wait_log(r"imap-login: Info: Disconnected: Aborted login by logging out .*rip=192\.0\.2\.1, lip=198\.51\.100\.2,")
    with behind.client(b"PROXY TCP6 2001:db8::1 2001:db8::2 1234 110\r\n", behind.pop3, kind=Pop3) as client:
        assert client.greeting.startswith("+OK ")
        client.command("QUIT")
    behind.postern.wait_log(r"pop3-login: Info: Disconnected: .*rip=2001:db8::1, lip=2001:db8::2, session=<\S{32}>")


@pytest.mark.parametrize("service_count", ["0", "1"])
def test_a_login_through_a_balancer_is_proxied_in_both_ways_of_processes(behind, user, tls, service_count):
    name, password = user()
    behind.postern.service = {"service_count": service_count}
    behind.postern.start()
    with behind.client(V1, behind.imaps, greeting=False) as client:
        client.socket = tls.wrap_socket(client.socket, server_hostname="localhost")
        client._file = client.socket.makefile("rb")
        assert client.line().startswith("* OK ")
        assert client.login(name, password).startswith("OK ")
        rows = behind.postern.ctl("proxy", "list", form="json").json()
        assert "192.0.2.1" in str(rows), rows
    behind.postern.wait_log(r"Started proxying to .*method=PLAIN, rip=192\.0\.2\.1, lip=198\.51\.100\.2, TLS,")


def test_a_header_may_arrive_in_any_two_pieces(behind):
    behind.postern.start()
    for header in (V1, v2(INET + tlv(2, b"mail.example"))):
        clients = []
        for cut in range(1, len(header)):
            client = Imap(behind.imap, greeting=False, source=(BALANCER, 0))
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.send(header[:cut])
            clients.append((cut, client))
        for cut, client in clients:
            client.send(header[cut:] + b"a NOOP\r\n")
            assert client.line().startswith("* OK "), cut
            assert client.line().startswith("a OK "), cut
            client.close()


def test_claims_are_believed_by_the_sockets_own_address_T_NET_13(behind):
    postern = behind.postern
    postern.settings["login_trusted_networks"] = "192.0.2.1, 127.0.0.3"
    postern.start()
    # Not by what the header says of itself, and not because the client behind it is trusted.
    for header in (V1, b"PROXY TCP4 127.0.0.4 127.0.0.1 1 143\r\n", v2()):
        for source in (STRANGER, "127.0.0.3"):
            assert behind.refused(header, source=source)
            postern.wait_log(rf"imap-login: Warning: haproxy: Client not trusted \(rip={re.escape(source)}\)")
    # Where nobody sends headers, one is no command either.
    for source in (STRANGER, BALANCER):
        with Imap(postern.port, source=(source, 0)) as client:
            client.send(V1)
            assert client.at_end()
    postern.wait_log(r"Disconnected: PROXY header on a listener without haproxy = yes \(no auth attempts .*rip=127\.0\.0\.2,")
    # The client's address, as the balancer gives it, decides whether the client is trusted.
    with behind.client(V1) as client:
        assert "AUTH=PLAIN" in client.greeting and "LOGINDISABLED" not in client.greeting
    with behind.client(V1.replace(b"192.0.2.1", b"192.0.2.7")) as client:
        assert "LOGINDISABLED" in client.greeting
        client.command('ID ("x-originating-ip" "203.0.113.9")')
    postern.wait_log(r"Disconnected: .*rip=192\.0\.2\.7, lip=198\.51\.100\.2")
    assert "203.0.113.9" not in postern.log_text()


def test_the_order_of_claims_T_NET_14(behind):
    postern = behind.postern
    postern.settings["login_trusted_networks"] = "192.0.2.1"
    postern.settings["login_log_format_elements"] = "user=<%u> rip=%r lip=%l real=%{real_rip} session=<%{session}>"
    postern.start()
    # A header, then what its client says of another one: taken if that client is a trusted hop.
    with behind.client(V1) as client:
        client.command('ID ("x-originating-ip" "203.0.113.9" "x-session-id" "hop-two")')
        client.command("LOGOUT")
    postern.wait_log(r"rip=203\.0\.113\.9, lip=198\.51\.100\.2, real=127\.0\.0\.4, session=<hop-two>")
    # The last of two claims of one hop holds.
    with behind.client(V1, behind.pop3, kind=Pop3) as client:
        assert client.command("XCLIENT ADDR=203.0.113.10 PORT=1").startswith("+OK")
        assert client.command("XCLIENT ADDR=203.0.113.11 PORT=1").startswith("+OK")
        client.command("QUIT")
    postern.wait_log(r"pop3-login: .*rip=203\.0\.113\.11, .*real=127\.0\.0\.4")
    # What a hop claims does not make the next claim's hop another one.
    with behind.client(V1.replace(b"192.0.2.1", b"192.0.2.8")) as client:
        client.command('ID ("x-originating-ip" "192.0.2.1")')
        client.command('ID ("x-originating-ip" "203.0.113.12")')
        client.command("LOGOUT")
    postern.wait_log(r"rip=192\.0\.2\.8, lip=198\.51\.100\.2, real=127\.0\.0\.4")
    assert "203.0.113.12" not in postern.log_text()
    # A second header is never taken, whether it comes along or later.
    second = V1.replace(b"192.0.2.1", b"192.0.2.9")
    for header in (V1 + second, v2() + v2(), V1 + v2(), v2() + second):
        with behind.client(header) as client:
            assert client.at_end()
    postern.wait_log(r"Disconnected: Second PROXY header \(no auth attempts .*rip=192\.0\.2\.1,")
    with behind.client(V1) as client:
        client.send(second)
        assert client.at_end()
    # Nor when it comes in pieces, wherever it is cut; what the pieces of version 2 look like is answered as it is.
    before = 5  # those above
    wait_for("their lines", lambda: postern.log_text().count("Second PROXY header") == before)
    pieces = [(header, cut) for header in (second, v2()) for cut in range(1, len(header))]
    for header, cut in pieces:
        with behind.client(V1) as client:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.send(header[:cut])
            time.sleep(0.005)
            try:
                client.send(header[cut:])
                while line := client.line():
                    assert " BAD " in line, (header, cut)
            except (ConnectionResetError, BrokenPipeError):
                pass
    wait_for("their lines", lambda: postern.log_text().count("Second PROXY header") == before + len(pieces))
    with behind.client(V1) as client:
        client.command("NOOP")
        client.send(second)
        assert " BAD " in client.line()
    assert "rip=192.0.2.9" not in postern.log_text()


def test_bad_headers_are_closed_and_told_once(behind):
    postern = behind.postern
    postern.start()
    for header, line in (
            (b"a CAPABILITY\r\n", r"Failed to read valid HAproxy data \(rip=127\.0\.0\.4\)"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", r"Failed to read valid HAproxy data"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 0 143\r\n", r"Proxied remote port is invalid \(port=`0', rip=127\.0\.0\.4\)"),
            (b"PROXY UNKNOWN " + b"x" * 200, r"Too long header"), (v2(command=0x31), r"Unsupported protocol version \(version=03, rip="),
            (v2(family=0x12), r"Not using TCP \(type=02, rip=127\.0\.0\.4\)"), (v2(INET + b"\x02\0Pabc"), r"Invalid TLV: get_tlv\(0\) failed: Truncated data"),
            (v2(INET + bytes(1600)), r"Too long header")):
        start = len(postern.log_text())
        assert behind.refused(header), header
        wait_for(line, lambda: re.search("imap-login: Error: haproxy.*Client disconnected: " + line, postern.log_text()[start:]))
        assert not re.search(r"Disconnected: .*rip=127\.0\.0\.4", postern.log_text()[start:])
        time.sleep(0.15)
    # Half a header and an end.
    with behind.client(V1[:20], greeting=False) as client:
        client.socket.shutdown(socket.SHUT_WR)
        assert client.at_end()
    postern.wait_log(r"haproxy: Client disconnected: Failed to read full header \(rip=127\.0\.0\.4\)")


def test_who_never_sends_a_header_is_closed_in_time(behind):
    behind.postern.settings["haproxy_timeout"] = "500 ms"
    behind.postern.start()
    with behind.client(V1[:9], greeting=False) as client, behind.client(b"", greeting=False) as silent, behind.client(V1) as good:
        assert client.at_end() and silent.at_end()
        assert good.command("NOOP")[-1].endswith("completed.")
    behind.postern.wait_log(r"imap-login: Error: haproxy: Client timed out \(rip=127\.0\.0\.4\)")


def test_a_flood_of_bad_headers_does_not_flood_the_log(behind):
    behind.postern.service["process_limit"] = "1"
    behind.postern.start()
    for _ in range(200):
        behind.refused(b"x")
    time.sleep(1.1)
    behind.refused(b"x")
    left_out = behind.postern.wait_log(r"haproxy: \d+ more such lines were left out")
    lines = behind.postern.log_text().count("Failed to read valid HAproxy data")
    assert lines + int(re.search(r"haproxy: (\d+)", left_out).group(1)) >= 201 and lines < 201, (lines, left_out)


def test_the_balancers_tls_is_the_clients(behind, user):
    name, password = user()
    behind.postern.settings["ssl"] = "required"
    behind.postern.start()
    with behind.client(v2(INET + tlv(2, b"Mail.Example.Test") + tls_of_balancer())) as client:
        assert "AUTH=PLAIN" in client.greeting and "STARTTLS" not in client.greeting
        assert client.command("STARTTLS")[-1].endswith("BAD TLS is already active.")
        assert client.login(name, password).startswith("OK ")
    behind.postern.wait_log(r"Started proxying to .*rip=192\.0\.2\.1, lip=198\.51\.100\.2, TLS, session=")
    with behind.client(v2(INET + tls_of_balancer(client=0))) as client:
        assert "LOGINDISABLED" in client.greeting and "STARTTLS" in client.greeting


def test_auth_is_told_both_addresses_the_name_and_a_verified_certificate(behind):
    postern = behind.postern
    auth = ScriptedAuth(postern.directory / "auth.sock", ["PLAIN", "EXTERNAL"])
    postern.settings["auth_socket_path"] = str(postern.directory / "auth.sock")
    postern.start()

    def asked(header):
        with behind.client(header) as client:
            client.send("a AUTHENTICATE PLAIN AHgAeQ==\r\n")
            return auth.requests.get(timeout=10)

    name = tlv(2, b"Mail.Example.Test")
    fields = asked(v2(INET + name + tls_of_balancer(0x07, 0, b"carol")))
    assert {"rip=192.0.2.1", "lip=198.51.100.2", "rport=1234", "lport=143", "real_rip=127.0.0.4", "real_lip=127.0.0.1",
            f"real_lport={behind.imap}", "local_name=mail.example.test", "secured=tls", "valid-client-cert", "cert_username=carol"} <= set(fields)
    for client, verify in ((0x07, 19), (0x01, 0)):  # not verified; not shown
        fields = asked(v2(INET + tls_of_balancer(client, verify, b"carol")))
        assert "secured=tls" in fields and not any("cert" in field for field in fields), fields
    auth.close()


def test_the_balancers_own_checks_leave_no_noise(behind):
    postern = behind.postern
    postern.settings["login_healthcheck_networks"] = f"{BALANCER}, 127.0.0.5"
    postern.start()
    # Connects and goes; says that it is only looking; speaks no PROXY at all; is no balancer; comes to a listener for clients.
    Imap(behind.imap, greeting=False, source=(BALANCER, 0)).close()
    for header in (v2(command=0x20), v2(b"", 0x20, 0), b"PROXY UNKNOWN\r\n"):
        with behind.client(header) as client:
            assert client.greeting.startswith("* OK ")
    assert behind.refused(b"GET / HTTP/1.0\r\n\r\n")
    assert behind.refused(b"a NOOP\r\n", source="127.0.0.5")
    with Imap(postern.port, source=("127.0.0.5", 0)):
        pass
    with socket.create_connection(("127.0.0.1", postern.tls_port), 5, source_address=("127.0.0.5", 0)):
        pass
    # A client behind the balancer is no check of the balancer's.
    with behind.client(V1) as client:
        client.command("LOGOUT")
    postern.wait_log("Aborted login by logging out")
    # 127.0.0.1 is who waited for the start.
    lines = [line for line in postern.log_text().splitlines() if "-login: " in line and "rip=127.0.0.1," not in line]
    assert len(lines) == 1 and "rip=192.0.2.1" in lines[0], lines


def test_filters_go_by_the_headers_addresses(behind):
    behind.postern.extra += ("\n[remote 192.0.2.0/24]\nlogin_greeting = by client\n\n[local 198.51.100.3]\nlogin_greeting = by server\n"
                             "\n[remote 127.0.0.4]\nlogin_greeting = by balancer\n")
    behind.postern.start()
    for header, greeting in ((V1, "by client"), (b"PROXY TCP4 203.0.113.1 198.51.100.3 1 143\r\n", "by server"),
                             (b"PROXY TCP4 203.0.113.1 198.51.100.2 1 143\r\n", "Postern ready."), (b"PROXY UNKNOWN\r\n", "by balancer")):
        with behind.client(header) as client:
            assert client.greeting.endswith("] " + greeting), client.greeting


# --- a real HAProxy ---

@pytest.fixture
def haproxy(behind, directory, authority, server_pair):
    """In front of `behind`, once start() is called: passes on (imap, imaps, pop3), and ends TLS itself (imaps_here)."""
    class Haproxy:
        imap, imaps, pop3, imaps_here = (free_port() for _ in range(4))

        def start(self):
            pem = directory / "haproxy.pem"
            pem.write_text(server_pair.cert.read_text() + server_pair.key.read_text())
            text = f"""
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"""
            tls = f"ssl crt {pem} ca-file {authority.cert} verify optional"
            for name, port, bind, send, to in (
                    ("imap", self.imap, "", "send-proxy", behind.imap), ("imaps", self.imaps, "", "send-proxy-v2", behind.imaps),
                    ("pop3", self.pop3, "", "send-proxy", behind.pop3),
                    ("imaps_here", self.imaps_here, tls, "send-proxy-v2-ssl-cn proxy-v2-options ssl,cert-cn,authority", behind.imap)):
                text += (f"\nlisten {name}\n    bind 127.0.0.1:{port} {bind}\n"
                         f"    server postern 127.0.0.1:{to} {send} source {BALANCER} check inter 300\n")
            configuration = directory / "haproxy.cfg"
            configuration.write_text(text)
            self.child = Child(["haproxy", "-db", "-f", configuration], directory / "haproxy.out")
            for port in (self.imap, self.imaps, self.pop3, self.imaps_here):
                wait_for("haproxy", lambda: self.listens(port), 15)
            return self

        def listens(self, port):
            assert self.child.running(), self.child.output.read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

    made = Haproxy()
    yield made
    if hasattr(made, "child"):
        made.child.stop()


def curl(*arguments):
    return subprocess.run(["curl", "-sS", "-m", "20", "--interface", "127.0.0.9", *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_real_clients_come_in_through_a_real_haproxy(behind, haproxy, user, backend, authority):
    name, password = user()
    pop3_name, _ = user(password=password, port=backend.pop3_port)
    behind.postern.settings["login_healthcheck_networks"] = BALANCER
    behind.postern.settings["ssl"] = "required"
    behind.postern.start()
    haproxy.start()
    trust = ["--cacert", authority.cert]
    for url, more in ((f"imap://localhost:{haproxy.imap}/INBOX", ["--ssl-reqd"]), (f"imaps://localhost:{haproxy.imaps}/INBOX", []),
                      (f"pop3://localhost:{haproxy.pop3}/", ["--ssl-reqd"]), (f"imaps://localhost:{haproxy.imaps_here}/INBOX", [])):
        start = len(behind.postern.log_text())
        done = curl(url, "-u", f"{pop3_name if url.startswith('pop3') else name}:{password}", *trust, *more)
        assert done.returncode == 0, (url, done.stderr)
        wait_for("the log", lambda: re.search(r"Started proxying to .*rip=127\.0\.0\.9, lip=127\.0\.0\.1, TLS,", behind.postern.log_text()[start:]))
    refused = curl(f"imaps://localhost:{haproxy.imaps_here}/INBOX", "-u", f"{name}:wrong-{password}", *trust)
    assert refused.returncode == 67, refused
    behind.postern.wait_log(r"Disconnected: .*\(auth failed, 1 attempts .*rip=127\.0\.0\.9, lip=127\.0\.0\.1, TLS")
    time.sleep(0.7)  # HAProxy has looked some times
    noise = [line for line in behind.postern.log_text().splitlines() if "haproxy" in line or f"rip={BALANCER}" in line]
    assert not noise, noise


def test_a_name_of_a_certificate_that_haproxy_verified_reaches_auth(behind, haproxy, authority):
    postern = behind.postern
    auth = ScriptedAuth(postern.directory / "auth.sock", ["PLAIN"])
    postern.settings["auth_socket_path"] = str(postern.directory / "auth.sock")
    postern.start()
    haproxy.start()
    pair = authority.issue("carol", ["carol"])
    for certificate in (pair, None):
        context = ssl.create_default_context(cafile=str(authority.cert))
        if certificate:
            context.load_cert_chain(certificate.cert, certificate.key)
        with Imap(haproxy.imaps_here, context, name="localhost") as client:
            client.send("a AUTHENTICATE PLAIN AHgAeQ==\r\n")
            fields = auth.requests.get(timeout=10)
        assert {"secured=tls", "rip=127.0.0.1", "real_rip=127.0.0.4", "local_name=localhost"} <= set(fields), fields
        assert any(field.startswith("cert_username=") for field in fields) == bool(certificate), fields
    auth.close()
