"""What scanners for TLS find: nothing."""
import json
import os
import re
import shutil
import subprocess

import pytest

from harness.imap import Imap
from harness.openssl import s_client

SCANNER = next((path for path in map(shutil.which, ("testssl", "testssl.sh")) if path), None)
HARMLESS = ("OK", "INFO", "DEBUG")
# What it says of this host's openssl, and that TLS 1.2 clients without GCM may come (Dovecot's ssl_cipher_list); OpenSSL has mended that.
ASIDE = {("engine_problem", "WARN"), ("cipherlist_AVERAGE", "LOW"), ("RC4", "WARN"), ("LUCKY13", "LOW"), ("scanProblem", "WARN")}


@pytest.fixture
def gate(postern, authority):
    pair = authority.issue("scanned", ["localhost"], use_rsa=True)
    other = authority.issue("scanned-ec", ["localhost"])
    postern.settings |= {"protocols": "imap pop3 submission sieve", "ssl_cert": f"<{pair.cert}", "ssl_key": f"<{pair.key}",
                         "ssl_alt_cert": f"<{other.cert}", "ssl_alt_key": f"<{other.key}"}
    return postern.start()


def port_of(gate, door):
    return getattr(gate, {"imaps": "tls_port", "imap": "port"}.get(door, f"{door}_port"))


def scan(gate, port, *options):
    """Findings by their id: (severity, text)."""
    report = gate.directory / f"report-{port}.json"
    done = subprocess.run([SCANNER, "--quiet", "--warnings", "off", "--color", "0", "--nodns", "none", "--fast", "--jsonfile", report, *options,
                           f"127.0.0.1:{port}"], capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL,
                          env=os.environ | {"LC_ALL": "C"}, check=False)
    assert report.exists(), done.stdout + done.stderr
    return {one["id"]: (one["severity"], one["finding"]) for one in json.loads(report.read_text())}


@pytest.mark.skipif(not SCANNER, reason="testssl.sh is not installed")
@pytest.mark.parametrize("door,options", [("imaps", ("--vulnerable",)), ("imap", ("--starttls", "imap")), ("pop3s", ()), ("pop3", ("--starttls", "pop3")),
                                          ("submissions", ()), ("submission", ("--starttls", "smtp")), ("sieves", ())])
def test_testssl_finds_nothing_T_NET_05(gate, door, options):
    found = scan(gate, port_of(gate, door), *options, "--protocols", "--std")
    bad = {name: what for name, what in found.items() if what[0] not in HARMLESS and (name, what[0]) not in ASIDE}
    assert not bad, bad
    for old in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
        assert found[old][1].startswith("not offered"), (old, found[old])
    for new in ("TLS1_2", "TLS1_3"):
        assert found[new][1].startswith("offered"), (new, found[new])
    # What a client without anything newer would get: none of the weak kinds, all with forward secrecy.
    for weak in ("NULL", "aNULL", "EXPORT", "LOW", "3DES_IDEA"):
        assert found[f"cipherlist_{weak}"][1] == "not offered", (weak, found[f"cipherlist_{weak}"])
    assert found["cipherlist_STRONG"] == ("OK", "offered")
    if door == "imaps":
        assert found["secure_renego"] == ("OK", "supported")
        assert found["secure_client_renego"][0] == "OK", found["secure_client_renego"]
        assert {"heartbleed", "CCS", "ticketbleed", "ROBOT", "CRIME_TLS", "POODLE_SSL", "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "RC4"} <= found.keys()
    with Imap(gate.port) as client:
        assert client.greeting.startswith("* OK "), "it serves on"


@pytest.mark.skipif(not shutil.which("sslscan"), reason="sslscan is not installed")
@pytest.mark.parametrize("door,options", [("imaps", ()), ("imap", ("--starttls-imap",)), ("pop3s", ()), ("pop3", ("--starttls-pop3",)),
                                          ("submissions", ()), ("submission", ("--starttls-smtp",)), ("sieves", ())])
def test_sslscan_finds_nothing_T_NET_05(gate, door, options):
    done = subprocess.run(["sslscan", "--no-colour", *options, f"127.0.0.1:{port_of(gate, door)}"], capture_output=True, text=True, timeout=120, check=True)
    text = done.stdout
    for line in (r"SSLv2\s+disabled", r"SSLv3\s+disabled", r"TLSv1\.0\s+disabled", r"TLSv1\.1\s+disabled", r"TLSv1\.2\s+enabled",
                 r"TLSv1\.3\s+enabled", "Compression disabled|does not support compression", "TLSv1.3 not vulnerable to heartbleed", "TLSv1.2 not vulnerable to heartbleed",
                 "Session renegotiation not supported|Secure session renegotiation supported", "Server supports TLS Fallback SCSV"):
        assert re.search(line, text), (line, text)
    ciphers = re.findall(r"^(?:Preferred|Accepted)\s+(TLSv\S+)\s+(\d+) bits\s+(\S+)", text, re.M)
    assert ciphers and all(int(bits) >= 128 for _, bits, _ in ciphers), text
    assert all(name.startswith(("TLS_", "ECDHE-")) for _, _, name in ciphers), "all with forward secrecy"


@pytest.mark.parametrize("door", ["imaps", "pop3s", "submissions", "sieves"])
def test_nothing_is_stapled(gate, door):
    """There is no OCSP in Postern: who asks for a response gets a handshake without one."""
    text = s_client(port_of(gate, door), "-status", "-tls1_3")
    assert "OCSP response: no response sent" in text and "New, TLSv1.3" in text, text
