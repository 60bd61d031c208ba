"""Certificates that change while Postern runs, and those that end."""
import os
import shutil
import ssl
import time

import pytest

from harness.imap import Imap, trusting
from harness.pop3 import Pop3

MODES = {"one process a client": {"service_count": "1", "client_limit": "1", "process_limit": "50"},
         "shared": {"service_count": "0", "process_min_avail": "1", "client_limit": "1000"}}


@pytest.fixture
def files(directory, server_pair):
    """Where the certificate is that Postern is told of, and its key."""
    class Files:
        cert, key = directory / "live.pem", directory / "live.key"

        def put(self, pair, key_first=True):
            for path, source in sorted(((self.cert, pair.cert), (self.key, pair.key)), reverse=key_first):
                shutil.copy(source, path)
    out = Files()
    out.put(server_pair)
    return out


@pytest.fixture
def gate(postern, files):
    postern.settings |= {"protocols": "imap pop3", "ssl_cert": f"<{files.cert}", "ssl_key": f"<{files.key}", "ssl_cert_check_interval": "200 ms"}
    return postern


@pytest.fixture
def renewed(authority):
    count = [0]

    def make(**more):
        count[0] += 1
        return authority.issue(f"renewed-{os.urandom(4).hex()}", ["localhost", f"number-{count[0]}.example"], **more)
    return make


def served(port, authority, kind=Imap, starttls=False):
    """The serial number of the certificate that is served now."""
    context = trusting(authority.cert)
    with kind(port, None if starttls else context) as client:
        if starttls:
            client.starttls(context)
        return int(client.socket.getpeercert()["serialNumber"], 16)


def wait_served(pair, port, authority, **more):
    until = time.monotonic() + 15
    while served(port, authority, **more) != pair.serial:
        assert time.monotonic() < until, "the new certificate is not served"
        time.sleep(0.1)


@pytest.mark.parametrize("mode", MODES)
def test_a_renewed_certificate_is_served_without_a_reload(gate, authority, files, renewed, mode):
    gate.service = MODES[mode]
    gate.start()
    pids = gate.pids("imap-login")
    for _ in range(2):
        pair = renewed()
        files.put(pair)
        wait_served(pair, gate.tls_port, authority)
        wait_served(pair, gate.pop3s_port, authority, kind=Pop3)
        assert served(gate.port, authority, starttls=True) == pair.serial
    if mode == "shared":
        assert gate.pids("imap-login") == pids, "the same processes serve it"
    gate.wait_log("master: Info: TLS: .*live.pem was read again")
    assert "Error" not in gate.log_text()


def test_sessions_and_greeted_clients_stay(gate, authority, files, renewed, user):
    name, password = user()
    gate.start()
    with Imap(gate.tls_port, trusting(authority.cert)) as relayed, Imap(gate.port) as waiting:
        assert relayed.login(name, password).startswith("OK ")
        pair = renewed()
        files.put(pair)
        wait_served(pair, gate.tls_port, authority)
        assert " OK " in relayed.command("NOOP")[-1]
        waiting.starttls(trusting(authority.cert))
        assert int(waiting.socket.getpeercert()["serialNumber"], 16) == pair.serial
        assert waiting.login(name, password).startswith("OK ")


def test_a_link_that_is_turned_is_noticed(gate, authority, directory, files, renewed):
    """certbot writes new files and lets links point to them."""
    pair = renewed()
    gate.start()
    for path, target in ((files.cert, pair.cert), (files.key, pair.key)):
        other = directory / "link"
        other.symlink_to(target)
        other.rename(path)
    wait_served(pair, gate.tls_port, authority)


@pytest.mark.parametrize("mode", MODES)
def test_bad_files_never_break_tls(gate, authority, files, server_pair, renewed, mode):
    gate.service = MODES[mode]
    gate.start()
    pair = renewed()
    whole = pair.cert.read_text()
    for what, complaint in ((whole[:len(whole) // 2], "certificate: "), ("", "certificate: "), ("no certificate\n", "there is no PEM certificate"),
                            (whole, "the private key does not belong to the certificate")):
        files.cert.write_text(what)
        gate.wait_log(complaint + ".*; what was read before stays in use")
        assert served(gate.tls_port, authority) == server_pair.serial
    lines = [line for line in gate.log_text().splitlines() if "does not belong" in line]
    time.sleep(1)
    assert [line for line in gate.log_text().splitlines() if "does not belong" in line] == lines and len(lines) == 1, "said once"
    files.cert.unlink()
    gate.wait_log("ssl_cert: cannot read .*live.pem: No such file or directory; what was read before stays in use")
    assert served(gate.tls_port, authority) == server_pair.serial
    files.put(pair)
    wait_served(pair, gate.tls_port, authority)


def test_of_two_names_the_bad_one_stays_behind(gate, authority, files, renewed):
    named, other = renewed(), renewed()
    cert, key = gate.directory / "named.pem", gate.directory / "named.key"
    shutil.copy(named.cert, cert)
    shutil.copy(named.key, key)
    gate.extra = f"\n[local_name named.example]\nssl_cert = <{cert}\nssl_key = <{key}\n"
    gate.start()
    context = trusting(authority.cert)
    context.check_hostname = False
    cert.write_text(other.cert.read_text())  # not its key
    pair = renewed()
    files.put(pair)
    wait_served(pair, gate.tls_port, authority)
    gate.wait_log(r"local_name named.example: the private key does not belong")
    with Imap(gate.tls_port, context, "named.example") as client:
        assert int(client.socket.getpeercert()["serialNumber"], 16) == named.serial


def test_nothing_is_looked_at_if_told_so_but_by_order(gate, authority, files, server_pair, renewed):
    gate.settings["ssl_cert_check_interval"] = "0"
    gate.start()
    pair = renewed()
    files.put(pair)
    time.sleep(1)
    assert served(gate.tls_port, authority) == server_pair.serial
    assert gate.ctl("tls", "reload").code == 0
    wait_served(pair, gate.tls_port, authority)
    files.key.write_text("nothing\n")
    done = gate.ctl("tls", "reload")
    assert done.code == 78 and "private key: " in done.err
    assert served(gate.tls_port, authority) == pair.serial


def test_a_new_crl_is_used(gate, authority, renewed, user):
    """What clients' certificates are checked against changes more often than our own."""
    name, password = user()
    mine = renewed()
    lists = gate.directory / "clients-ca.pem"
    lists.write_text(authority.cert.read_text() + authority.revocations())
    gate.settings |= {"auth_ssl_require_client_cert": "yes", "ssl_ca": f"<{lists}"}
    gate.start()
    context = trusting(authority.cert)
    context.load_cert_chain(mine.cert, mine.key)
    with Imap(gate.tls_port, context) as client:
        assert client.login(name, password).startswith("OK ")
    lists.write_text(authority.cert.read_text() + authority.revocations(mine.serial))
    gate.wait_log("clients-ca.pem was read again")
    time.sleep(0.5)
    with Imap(gate.tls_port, context) as client:
        assert client.login(name, password) == "NO [ALERT] Client didn't present valid SSL certificate"


class TestExpiry:
    def test_is_listed(self, gate, authority, files, renewed):
        late = authority.issue("late-name", ["late.example"], expired=True)
        gate.extra = f"\n[local_name late.example]\nssl_cert = <{late.cert}\nssl_key = <{late.key}\n"
        gate.settings["ssl_expiry_warning"] = "5 days"
        gate.start()
        rows = gate.ctl("tls", "list", form="json").json()
        assert [(row["names"], row["state"], row["days"]) for row in rows] == [("late.example", "expired", "0"), ("localhost", "valid", "19")]
        assert rows[0]["file"] == str(late.cert) and rows[0]["filter"] == "local_name late.example"
        assert rows[1]["key"] == "EC prime256v1" and rows[1]["issuer"] == "Test CA"
        assert gate.ctl("tls", "list").rows()[1][:3] == ["localhost", "valid", "19"]
        files.put(renewed(days=4))
        gate.wait_log("live.pem: the certificate for localhost, number-1.example expires in 3 days, on ")
        assert [row["state"] for row in gate.ctl("tls", "list", form="json").json()] == ["expired", "expires"]

    def test_is_told_in_the_log(self, gate, authority):
        late = authority.issue("late", ["localhost"], expired=True)
        gate.settings |= {"ssl_cert": f"<{late.cert}", "ssl_key": f"<{late.key}"}
        gate.start()
        gate.wait_log(r"master: Warning: .*/late.pem: the certificate for localhost expired on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")

    def test_within_the_warning_time(self, gate):
        gate.settings["ssl_expiry_warning"] = "30 days"
        gate.start()
        gate.wait_log(r"master: Warning: .*: the certificate for localhost expires in 19 days, on ")


def test_a_client_that_is_in_its_handshake_is_not_cut_off(gate, authority, files, renewed):
    import socket
    gate.start()
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting(authority.cert).wrap_bio(into, out, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", gate.tls_port), 10) as plain:
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        plain.sendall(out.read())
        into.write(plain.recv(65536))
        pair = renewed()
        files.put(pair)
        wait_served(pair, gate.tls_port, authority)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(out.read())
                into.write(plain.recv(65536))
        plain.sendall(out.read())
        while True:
            try:
                assert tls.read(1000).startswith(b"* OK ")
                break
            except ssl.SSLWantReadError:
                into.write(plain.recv(65536))
