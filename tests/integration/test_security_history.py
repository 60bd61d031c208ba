"""What went wrong in Dovecot's login processes before, one test for each entry that can concern imap-login, pop3-login and what
all protocols share. Those of client certificates, of submission and of ManageSieve have their places with these."""
import base64
import json
import os
import re
import socket
import ssl

import pytest

from harness import sasl
from harness.imap import Imap
from harness.pop3 import Pop3
from harness.procs import wait_for
from harness.scripted_auth import ScriptedAuth
from harness.wires import PROTOCOLS, WIRES, ImapWire, Pop3Wire

STARTTLS = {"imap": b"a STARTTLS\r\n", "pop3": b"STLS\r\n", "submission": b"STARTTLS\r\n", "sieve": b"STARTTLS\r\n"}
AFTER = {"imap": b"b LOGIN eve pw-of-eve\r\n", "pop3": b"USER eve\r\nPASS pw-of-eve\r\n",
         "submission": b"AUTH PLAIN AGV2ZQBwdy1vZi1ldmU=\r\n", "sieve": b'AUTHENTICATE "PLAIN" "AGV2ZQBwdy1vZi1ldmU="\r\n'}
SLACK = 6 << 20  # bytes a process may grow by, whatever a client sends: buffers of the sanitizer's own among it


def plain(name, password="pw"):
    return f"\0{name}\0{password}".encode()


@pytest.fixture
def gate(postern):
    postern.settings["protocols"] = PROTOCOLS
    return postern


@pytest.fixture
def scripted(gate):
    """An auth server that knows everybody's password to be wrong and leaves the rest to `answers`."""
    answers = {}

    def answer(fields):
        if fields[0] == "AUTH" and not fields[-1].startswith("resp="):
            return f"CONT\t{fields[1]}\t"  # asks for the response
        response = base64.b64decode(fields[-1].removeprefix("resp="))
        name = response.split(b"\0")[1].decode(errors="surrogateescape") if b"\0" in response else ""
        return answers.get(name, "FAIL\t{0}").format(fields[1])
    auth = ScriptedAuth(gate.directory / "auth.sock", ["PLAIN", "CRAM-MD5"], answer)
    auth.answers = answers
    gate.passdbs = {}
    gate.settings["auth_socket_path"] = str(gate.directory / "auth.sock")
    gate.start()
    yield auth
    auth.close()


def resident(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Steady:
    """The processes of a protocol stay the ones they are, and as large."""

    def __init__(self, gate, wire):
        self.gate, self.wire = gate, wire

    def __enter__(self):
        self.pids = self.gate.pids(self.wire.program)
        self.sizes = [resident(pid) for pid in self.pids]
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            assert self.gate.pids(self.wire.program) == self.pids, "a process has died"
            grown = [resident(pid) - size for pid, size in zip(self.pids, self.sizes)]
            assert max(grown) < SLACK, f"grown by {grown} bytes"


def refuses(wire, gate, source=None):
    with wire(gate, source=source) as connection:
        reply = connection.authenticate("PLAIN", sasl.client("PLAIN", "nobody", "pw"))
        assert re.fullmatch(wire.refused["wrong"], reply), reply


@pytest.mark.parametrize("service", WIRES)
def test_commands_behind_starttls_are_not_run_as_if_they_came_over_tls_CVE_2021_33515_CVE_2011_0411(gate, scripted, tls, service):
    wire = WIRES[service]
    glued = STARTTLS[service] + AFTER[service]
    for cut in (len(STARTTLS[service]) + 1, len(glued) - 1, len(glued)):
        connection = wire(gate)
        connection.client.socket.sendall(glued[:cut])
        assert "egin TLS" in connection.client.line()
        with pytest.raises((ssl.SSLError, OSError)):
            tls.wrap_socket(connection.client.socket, server_hostname="localhost")
        connection.client.close()
    gate.wait_log(rf"{wire.program}: Info: Disconnected: Plaintext input after STARTTLS \(no auth attempts in")
    assert scripted.requests.empty()


@pytest.mark.parametrize("service", WIRES)
def test_a_client_may_leave_after_any_byte_of_an_authentication_CVE_2019_11494(gate, scripted, service):
    wire = WIRES[service]
    with Steady(gate, wire):
        begin = {"imap": b"a AUTHENTICATE CRAM-MD5\r\n", "pop3": b"AUTH PLAIN\r\n",
                 "submission": b"AUTH CRAM-MD5\r\n", "sieve": b'AUTHENTICATE "CRAM-MD5"\r\n'}[service]
        response = base64.b64encode(plain("alice"))
        dialogue = begin + (b'"' + response + b'"' if service == "sieve" else response) + b"\r\n"
        for size in range(1, len(dialogue) + 1):
            with wire(gate) as connection:
                connection.client.socket.sendall(dialogue[:size])
                if size % 3 == 0:
                    connection.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        refuses(wire, gate)


@pytest.mark.parametrize("service", WIRES)
def test_a_login_that_succeeds_and_has_nowhere_to_go_is_answered_CVE_2026_33263(gate, scripted, service):
    wire = WIRES[service]
    scripted.answers["local"] = "OK\t{0}\tuser=local"
    with Steady(gate, wire):
        for _ in range(3):
            with wire(gate) as connection:
                reply = connection.authenticate("PLAIN", sasl.client("PLAIN", "local", "pw"))
                assert "Internal login failure. Refer to server log for more information." in reply
        refuses(wire, gate)


@pytest.mark.parametrize("service", WIRES)
def test_ntlm_and_rpa_do_not_exist_CVE_2020_12673_CVE_2020_12674(gate, service):
    wire = WIRES[service]
    for name in ("ntlm", "rpa"):
        gate.settings["auth_mechanisms"] = f"plain {name}"
        assert gate.check_configuration().code == 78
    gate.settings["auth_mechanisms"] = "plain"
    gate.start()
    with wire(gate) as connection:
        for name in ("NTLM", "RPA"):
            connection.begin(name, b"NTLMSSP\0" + b"\xff" * 64)
            assert connection.challenge() is None
            assert "Unsupported authentication mechanism." in connection.reply


def test_a_nul_in_a_string_is_refused_CVE_2019_11500(gate, scripted):
    with Steady(gate, ImapWire):
        for command in (b'LOGIN "a\\\0lice" pw', b'LOGIN "alice\0" pw', b'LOGIN "\0\0\0\0" "\0"', b"LOGIN {6+}\r\nali\0ce pw",
                        b'ID ("name\0" "x")', b'ID ("name" "\0")', b'\0 NOOP', b'NO\0OP', b'AUTHENTICATE "PL\0AIN"'):
            with Imap(gate.port) as client:
                client.send(b"a " + command + b"\r\nz NOOP\r\n")
                reply = client.answer("z")
                assert any(" BAD " in line or line.startswith("* BAD") for line in reply), (command, reply)
                assert reply[-1].startswith("z OK"), (command, reply)
    with Steady(gate, Pop3Wire), Pop3(gate.pop3_port) as client:
        for command in (b"USER ali\0ce", b"\0USER alice"):
            client.send(command + b"\r\n")
            assert client.line() == "-ERR Unknown command."
    assert scripted.requests.empty()


@pytest.mark.parametrize("service", WIRES)
def test_base64_that_is_none_goes_no_further_and_harms_nobody_else_CVE_2025_59028_CVE_2026_33603(gate, scripted, service):
    wire = WIRES[service]
    scripted.answers["alice"] = "CONT\t{0}\t"
    with wire(gate) as waiting:
        waiting.begin("PLAIN", plain("alice"))
        assert waiting.challenge() == b""  # an exchange of somebody else is open
        scripted.requests.queue.clear()
        for raw in ("!!!!", "AGFs\taWNl", "AGFsaWNl\tnologin", "AGFsaWN", "AGFsaWNl=", "====", "AA\x01tAA"):
            with wire(gate) as connection:
                connection.begin("PLAIN", raw=raw)
                assert connection.challenge() is None and not re.fullmatch(wire.good, connection.reply), raw
                connection.begin("PLAIN")
                if connection.challenge() is None:
                    continue  # the blank made it a wrong number of arguments, and that one more command
                connection.respond_raw(raw)
                assert connection.challenge() is None and not re.fullmatch(wire.good, connection.reply), raw
        asked = list(scripted.requests.queue)
        assert all(len(fields) == len({field.partition("=")[0] for field in fields}) and "nologin" not in fields for fields in asked), asked
        assert not any("resp" in field for fields in asked for field in fields), asked
        # Nothing of it made anybody hang up.
        assert scripted.connections == len(gate.settings["protocols"].split())
        waiting.respond(plain("nobody"))
        assert waiting.challenge() is None and re.fullmatch(wire.refused["wrong"], waiting.reply), waiting.reply


def flood(port, head, unit, total):
    """Sends `head` and then `unit` again and again, until `total` bytes or until the other side has had enough."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.settimeout(10)
        try:
            client.sendall(head)
            for _ in range(total // len(unit)):
                client.sendall(unit)
        except OSError:
            pass


def test_lists_in_lists_take_no_memory_CVE_2026_27857_CVE_2026_42006(gate, scripted):
    refuses(ImapWire, gate)
    flood(gate.port, b"a ID (", b"(" * 4096, 1 << 20)  # warm
    with Steady(gate, ImapWire):
        for head, unit in ((b"a ID (", b"(" * 4096), (b"a NOOP (", b"(" * 4096), (b"a LOGIN ", b"((a" * 1000), (b"a ENABLE ", b"x " * 2000),
                           (b"a LOGIN {1000000000+}\r\n", b"x" * 4096), (b"", b"(" * 4096), (b"a AUTHENTICATE PLAIN ", b"A" * 4096)):
            flood(gate.port, head, unit, 4 << 20)
        refuses(ImapWire, gate)


def test_an_id_of_a_million_pairs_takes_no_memory_CVE_2026_42391(gate, scripted):
    flood(gate.port, b"a ID (", b'"k" "v" ' * 500, 1 << 20)  # warm
    with Steady(gate, ImapWire):
        flood(gate.port, b"a ID (", b'"key" "value" ' * 300, 14 << 20)
        with Imap(gate.port) as client:
            client.send(b"a ID (" + b'"key" "value" ' * 5000 + b")\r\n")
            assert client.answer("a")[-1] == "a BAD Invalid ID parameters"


def test_what_a_trusted_hop_forwards_is_no_field_of_auth_CVE_2026_42395_CVE_2026_42008(gate, scripted):
    gate.settings["login_trusted_networks"] = "127.0.0.0/8"
    gate.write_configuration()
    assert gate.ctl("reload").code == 0
    wait_for("XCLIENT", lambda: "[XCLIENT]" in Pop3(gate.pop3_port).greeting)
    with Steady(gate, Pop3Wire), Pop3(gate.pop3_port) as client:
        for forwarded in (b"nopassword", b"a=b\0c", b"\0", b"=x", b"pass word=x", b"nopassword\ta=1\tb=\x01", b"user=eve"):
            client.send(b"XCLIENT FORWARD=" + base64.b64encode(forwarded) + b"\r\n")
            assert client.line() in ("+OK Updated", "-ERR Invalid parameters"), forwarded
        client.command("AUTH PLAIN " + base64.b64encode(plain("alice")).decode())
    fields = scripted.requests.get(timeout=5)
    assert not [field for field in fields if field.partition("=")[0] in ("nopassword", "user", "pass", "a", "b")], fields


def test_a_name_that_is_no_text_breaks_no_json_CVE_2019_10691(gate, scripted):
    name = "b\udcff\udcfe\"\\\x07"
    scripted.answers[name] = f"OK\t{{0}}\tuser={name}\tproxy\tpass=x\thost=127.0.0.1\tport=PORT"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        scripted.answers[name] = scripted.answers[name].replace("PORT", str(silent.getsockname()[1]))
        with ImapWire(gate) as connection:
            connection.begin("PLAIN", name.join("\0\0").encode(errors="surrogateescape") + b"pw")
            accepted, _ = silent.accept()
            listed = gate.ctl("who", form="json")
            assert listed.code == 0, listed.err
            json.loads(listed.out)
            accepted.close()


def test_names_asked_for_in_tls_are_not_kept_CVE_2017_15130(gate, scripted):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def ask(name):
        with socket.create_connection(("127.0.0.1", gate.tls_port), 10) as client:
            with context.wrap_socket(client, server_hostname=name) as encrypted:
                assert encrypted.recv(4) == b"* OK"
    for number in range(40):
        ask(f"warm{number}.example")
    with Steady(gate, ImapWire):
        for number in range(150):
            ask(f"name{number}-{'x' * 50}.example")


@pytest.mark.parametrize("service", WIRES)
def test_authentications_that_are_given_up_leave_nothing_CVE_2017_15132(gate, scripted, service):
    wire = WIRES[service]

    def give_up(times):
        for number in range(times):
            with wire(gate) as connection:
                connection.begin("PLAIN")
                assert connection.challenge() == b""
                if number % 2:
                    connection.cancel()
                    assert connection.challenge() is None
    give_up(50)
    with Steady(gate, wire):
        give_up(200)


def test_there_is_no_compression_before_login_CVE_2026_73209(gate, scripted):
    with Imap(gate.port) as client:
        assert "COMPRESS" not in client.greeting
        assert client.command("COMPRESS DEFLATE")[-1].endswith(" BAD Error in IMAP command received by server.")
        assert " OK " in client.command("NOOP")[-1]
