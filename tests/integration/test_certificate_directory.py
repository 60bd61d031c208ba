"""ssl_cert_dir: certificates by the names inside them."""
import os
import pathlib
import shutil
import signal
import time

import pytest

from harness.imap import Imap, trusting
from harness.openssl import negotiated
from harness.pop3 import Pop3
from harness.procs import descendants, wait_for
from test_certificates import MODES


@pytest.fixture
def store(directory):
    path = directory / "store"
    path.mkdir()
    return path


@pytest.fixture
def gate(postern, store):
    postern.settings |= {"protocols": "imap pop3", "ssl_cert_dir": str(store), "ssl_cert_check_interval": "200 ms"}
    return postern


@pytest.fixture
def put(authority, store):
    """Issues a certificate and lays it into the directory: as NAME.pem and NAME.key, in one file, or as certbot does."""
    def lay(names, label=None, form="two", **more):
        label = label or names[0].replace("*", "any")
        pair = authority.issue(f"{label}-{os.urandom(3).hex()}", names, **more)
        if form == "two":
            shutil.copy(pair.key, store / f"{label}.key")
            shutil.copy(pair.cert, store / f"{label}.pem")
        elif form == "one":
            (store / f"{label}.pem").write_text(pair.cert.read_text() + pair.key.read_text())
        else:
            (store / label).mkdir(exist_ok=True)
            shutil.copy(pair.key, store / label / "privkey.pem")
            shutil.copy(pair.cert, store / label / "fullchain.pem")
            (store / label / "README").write_text("certbot's\n")
        return pair
    return lay


def serial(port, authority, name, kind=Imap, starttls=False):
    context = trusting(authority.cert)
    context.check_hostname = False
    with kind(port, None if starttls else context, name) as client:
        if starttls:
            client.starttls(context, name)
        return int(client.socket.getpeercert()["serialNumber"], 16)


def wait_serial(pair, port, authority, name):
    until = time.monotonic() + 15
    while serial(port, authority, name) != pair.serial:
        assert time.monotonic() < until, name
        time.sleep(0.1)


@pytest.mark.parametrize("mode", MODES)
def test_each_name_gets_its_own(gate, authority, server_pair, put, mode):
    gate.service = MODES[mode]
    two, one = put(["two.example", "also.example"]), put(["one.example"], form="one")
    certbot, wild = put(["certbot.example"], form="certbot"), put(["*.wild.example"])
    gate.start()
    # From the very first client of the process on.
    for name, pair in (("two.example", two), ("also.example", two), ("ONE.example", one), ("certbot.example", certbot),
                       ("any.wild.example", wild), ("wild.example", server_pair), ("a.b.wild.example", server_pair), ("else.example", server_pair)):
        assert serial(gate.tls_port, authority, name) == pair.serial, name
        assert serial(gate.pop3s_port, authority, name, Pop3) == pair.serial, name
        assert serial(gate.port, authority, name, starttls=True) == pair.serial, name


def test_a_section_with_a_certificate_goes_before(gate, authority, put):
    put(["named.example"])
    section = authority.issue("section", ["named.example"])
    gate.extra = (f"\n[local_name named.example]\nssl_cert = <{section.cert}\nssl_key = <{section.key}\n"
                  "\n[local_name greeted.example]\nlogin_greeting = Only greeted.\n")
    greeted = put(["greeted.example"])
    gate.start()
    assert serial(gate.tls_port, authority, "named.example") == section.serial
    assert serial(gate.tls_port, authority, "greeted.example") == greeted.serial
    context = trusting(authority.cert)
    with Imap(gate.tls_port, context, "greeted.example") as client:
        assert client.greeting.endswith("] Only greeted.")


def test_rsa_beside_ecdsa(gate, put):
    put(["both.example"], label="ec")
    put(["both.example"], label="rsa", use_rsa=True)
    gate.start()
    options = ("-servername", "both.example", "-tls1_2", "-cipher")
    assert negotiated(gate.tls_port, *options, "ECDHE-RSA-AES256-GCM-SHA384")["Signature type"].startswith("RSA")
    assert negotiated(gate.tls_port, *options, "ECDHE-ECDSA-AES256-GCM-SHA384")["Signature type"] == "ECDSA"


def test_of_two_the_one_that_ends_later_is_served(gate, authority, put):
    later = put(["twice.example"], label="a-later", days=20)
    put(["twice.example"], label="z-sooner", days=10)
    gate.start()
    assert serial(gate.tls_port, authority, "twice.example") == later.serial


@pytest.mark.parametrize("mode", MODES)
def test_changes_are_noticed(gate, authority, server_pair, put, store, mode):
    gate.service = MODES[mode]
    put(["first.example"])
    gate.start()
    assert serial(gate.tls_port, authority, "second.example") == server_pair.serial
    second = put(["second.example"], form="certbot")
    wait_serial(second, gate.tls_port, authority, "second.example")
    renewed = put(["first.example"])
    wait_serial(renewed, gate.tls_port, authority, "first.example")
    again = put(["second.example"], form="certbot")
    wait_serial(again, gate.tls_port, authority, "second.example")
    (store / "first.example.pem").unlink()
    wait_serial(server_pair, gate.tls_port, authority, "first.example")
    assert serial(gate.tls_port, authority, "second.example") == again.serial
    assert "Error" not in gate.log_text()


def test_bad_files_are_told_of_and_harm_nobody_else(gate, authority, server_pair, put, store):
    good = put(["good.example"])
    kept = put(["kept.example"])
    (store / "garbage.pem").write_text("nothing\n")
    put(["mixed.example"])
    shutil.copy(good.key, store / "mixed.example.key")
    gate.start()
    gate.wait_log(r"master: Error: ssl_cert_dir: .*/garbage.pem: certificate: .*; it is not served")
    gate.wait_log(r"master: Error: ssl_cert_dir: .*/mixed.example.pem: the private key does not belong to the certificate; it is not served")
    assert serial(gate.tls_port, authority, "good.example") == good.serial
    assert serial(gate.tls_port, authority, "mixed.example") == server_pair.serial
    (store / "kept.example.pem").write_text(kept.cert.read_text()[:300])
    gate.wait_log(r"ssl_cert_dir: .*/kept.example.pem: certificate: .*; what was read before stays in use")
    assert serial(gate.tls_port, authority, "kept.example") == kept.serial


def test_is_listed_and_warned_of(gate, put):
    put(["soon.example"], days=3)
    gate.start()
    gate.wait_log(r"master: Warning: .*/soon.example.pem: the certificate for soon.example expires in 2 days")
    rows = gate.ctl("tls", "list", form="json").json()
    assert [(row["names"], row["state"], row["filter"]) for row in rows] == [("soon.example", "expires", "ssl_cert_dir"), ("localhost", "valid", "")]


def test_sessions_are_resumed_per_certificate(gate, authority, put):
    put(["one.example"])
    put(["two.example"])
    gate.start()
    context = trusting(authority.cert)
    with Imap(gate.tls_port, context, "one.example") as client:
        client.command("NOOP")
        session = client.socket.session
    for name, resumed in (("one.example", True), ("two.example", False)):
        import socket
        plain = socket.create_connection(("127.0.0.1", gate.tls_port), 10)
        with context.wrap_socket(plain, server_hostname=name, session=session) as again:
            assert again.session_reused == resumed, name


def test_it_must_be_there(gate, store):
    store.rmdir()
    done = gate.check_configuration()
    assert done.code == 78 and "ssl_cert_dir: " in done.err and "No such file or directory" in done.err


def stop_reader(gate):
    """Stops the process that looks at the files, as a disk that hangs would; its pid."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for pid in descendants(gate.pid):
            try:
                if pathlib.Path(f"/proc/{pid}/comm").read_text() != "postern-files\n":
                    continue
                os.kill(pid, signal.SIGSTOP)
                if pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "tT":
                    return pid
            except (FileNotFoundError, ProcessLookupError):
                pass  # it was done before
    raise AssertionError("nobody looks at the files")


def test_a_disk_that_hangs_holds_up_nothing(gate, authority, put, user):
    name, password = user()
    put(["first.example"])
    gate.settings |= {"ssl_cert_check_interval": "20 ms"}
    gate.start()
    pid = stop_reader(gate)
    later = put(["later.example"])
    assert gate.ctl("process", "status").code == 0
    with Imap(gate.tls_port, trusting(authority.cert), "first.example") as client:
        assert client.login(name, password).startswith("OK ")
    os.kill(pid, signal.SIGCONT)
    wait_serial(later, gate.tls_port, authority, "later.example")
    stopped = stop_reader(gate)
    assert gate.ctl("reload").code == 0
    assert gate.ctl("tls", "reload").code == 0, "another process reads"
    wait_for("that one to be given up", lambda: not pathlib.Path(f"/proc/{stopped}").exists())
    assert serial(gate.tls_port, authority, "later.example") == later.serial
    assert "Error" not in gate.log_text()


def test_a_file_that_is_too_large_is_refused_by_itself(gate, authority, put, store):
    put(["large.example"], form="one")
    good = put(["good.example"])
    with (store / "large.example.pem").open("a") as file:
        file.write("x" * (1 << 20))
    gate.start()
    gate.wait_log(r"ssl_cert_dir: .*/large.example.pem: cannot read .*: it holds more than 1048576 bytes; it is not served")
    assert serial(gate.tls_port, authority, "good.example") == good.serial
