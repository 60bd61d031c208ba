"""Backends that break off, stall or talk nonsense anywhere in a login, by every protocol: one login fails, everything else goes on."""
import base64
import os
import re
import socket
import ssl
import threading
import time

import pytest

from harness import fake_backend as fakes
from harness import sasl
from harness.fakes import DIALOGUES, play
from harness.imap import Imap
from harness.procs import wait_for
from harness.wires import PROTOCOLS, WIRES

PASSWORD = "pw-of-u1-3b9d"
UNAVAILABLE = {
    "imap": r"\w+ NO \[UNAVAILABLE\] Account is temporarily unavailable\.",
    "pop3": r"-ERR \[SYS/TEMP\] Account is temporarily unavailable\.",
    "submission": r"454 4\.7\.0 Account is temporarily unavailable\.",
    "sieve": r'NO \(TRYLATER\) "Account is temporarily unavailable\."',
}
MISCONFIGURED = {
    "imap": r"\w+ NO \[SERVERBUG\] Account is temporarily unavailable\.",
    "pop3": r"-ERR \[SYS/PERM\] Account is temporarily unavailable\.",
    "submission": UNAVAILABLE["submission"],
    "sieve": r'NO "Account is temporarily unavailable\."',
}
REFUSED = {
    "imap": r"\w+ NO \[AUTHENTICATIONFAILED\] Authentication failed\.",
    "pop3": r"-ERR (\[AUTH\] )?Authentication failed\.",
    "submission": r"535 5\.7\.8 Authentication failed\.",
    "sieve": r'NO "Authentication failed\."',
}
every_dialogue = pytest.mark.parametrize("dialogue", DIALOGUES, ids=str)


@pytest.fixture(scope="session")
def backend_tls(authority):
    pair = authority.issue("chaos", ["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    return context


@pytest.fixture
def gate(postern):
    """One process for each protocol, one try for each login, and nothing is remembered of failures."""
    postern.settings |= {"protocols": PROTOCOLS, "hostname": "gate.example", "login_proxy_max_reconnects": "0", "proxy_down_failures": "0",
                         "auth_failure_delay": "0", "login_max_auth_attempts": "0"}
    postern.service |= {"process_limit": "1"}
    return postern


class Bystander:
    """A session that is relayed meanwhile, by the process under fire."""

    def __init__(self, gate, fake_backend, protocol):
        self.wire, self.gate, self.protocol = WIRES[protocol], gate, protocol
        dialogue = next(d for d in DIALOGUES if d.protocol == protocol)

        def echo(talk):
            play(talk, dialogue, None, dialogue.size)
            while True:
                talk.send(talk.line())
        gate.add_user("by", PASSWORD, proxy="y", host="127.0.0.1", port=fake_backend(echo).port)

    def __enter__(self):
        self.gate.start()
        self.connection = self.wire(self.gate)
        assert "OK" in self.reply() or self.connection.reply.startswith("235")
        self.pids = self.gate.pids(self.wire.program)
        return self

    def reply(self):
        return self.connection.authenticate("PLAIN", sasl.client("PLAIN", "by", PASSWORD))

    def __exit__(self, kind, *_):
        if kind is None:
            self.connection.client.send("still here\r\n")
            assert self.connection.client.line() == "still here"
            assert self.gate.pids(self.wire.program) == self.pids, "the process has died"
        self.connection.client.close()


@pytest.fixture
def bystander(gate, fake_backend):
    return lambda protocol: Bystander(gate, fake_backend, protocol)


def send_to(gate, port, **fields):
    gate.add_user("u1", PASSWORD, **{"proxy": "y", "host": "127.0.0.1", "port": port, **fields})


def login(connection, user="u1"):
    return connection.authenticate("PLAIN", sasl.client("PLAIN", user, PASSWORD))


def begun(connection):
    """A login is under way, and the backend's turn."""
    connection.begin("PLAIN", f"\0u1\0{PASSWORD}".encode())
    return connection


def number_of_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def errors(gate, program):
    """What the log says of proxied logins that failed."""
    return [line for line in gate.log_text().splitlines() if f"{program}: Error: proxy(u1" in line]


def proxy_is_idle(gate):
    rows = gate.ctl("proxy", "status", form="json").json()
    return all((row["pending"], row["sessions"]) == ("0", "0") for row in rows)


def new_states(dialogue):
    """One end of play() in each state."""
    ends = dialogue.ends()
    return [end for before, end in zip([None, *ends], ends) if not before or before[2] != end[2]]


@every_dialogue
def test_it_may_close_at_every_byte_and_the_state_is_named_T_BCK_03_T_BCK_09(gate, fake_backend, bystander, backend_tls, dialogue):
    """And reset the connection in every state: of that the log need not know how far it had come."""
    ends, resets = dialogue.ends(), new_states(dialogue)
    turns = iter([(end, False) for end in ends] + [(end, True) for end in resets])

    def talk(talk):
        (said, shakes_hands, _), abruptly = next(turns)
        play(talk, dialogue, backend_tls, said, shakes_hands)
        if abruptly:
            talk.close_abruptly()
    send_to(gate, fake_backend(talk).port, **dialogue.fields)
    with bystander(dialogue.protocol) as held, held.wire(gate) as connection:
        for end in ends + resets:
            reply = login(connection)
            assert re.fullmatch(UNAVAILABLE[dialogue.protocol], reply), (end, reply)
        lines = wait_for("a line for each", lambda: len(e := errors(gate, held.wire.program)) >= len(ends + resets) and e)
    # Who closes with TLS's hello unread resets.
    closed = r"(?:Connection closed|SSL_connect\(\) syscall failed: Connection reset by peer)"
    named = [re.search(rf"\): Disconnected by server: {closed} \(state=(\S*), duration=\d+s\)", line) for line in lines[:len(ends)]]
    assert [match and match.group(1) for match in named] == [state for _, _, state in ends]
    assert all(re.search(r"\): Disconnected by server: .*\(state=", line) for line in lines)


@every_dialogue
def test_it_may_stall_in_every_state_which_is_named_T_BCK_05_T_BCK_09(gate, fake_backend, bystander, backend_tls, dialogue):
    """All at once, each in a state of its own, with the time from login_proxy_timeout."""
    ends = new_states(dialogue)
    turns, over = iter(ends), threading.Event()

    def talk(talk):
        said, shakes_hands, _ = next(turns)
        play(talk, dialogue, backend_tls, said, shakes_hands)
        over.wait(60)
    fake = fake_backend(talk)
    gate.settings["login_proxy_timeout"] = "2 s"
    send_to(gate, fake.port, **dialogue.fields)
    try:
        with bystander(dialogue.protocol) as held:
            waiting = []
            for count in range(len(ends)):
                waiting.append(begun(held.wire(gate)))
                wait_for("its connection", lambda: fake.connections == count + 1)
            for connection in waiting:
                assert connection.challenge() is None
                assert re.fullmatch(UNAVAILABLE[dialogue.protocol], connection.reply), connection.reply
                connection.client.close()
            lines = wait_for("a line for each", lambda: len(e := errors(gate, held.wire.program)) >= len(ends) and e)
    finally:
        over.set()
    named = [re.search(r"\): Login timed out in state=(\S*) \(after 2 secs, local=", line) for line in lines]
    assert sorted(match and match.group(1) for match in named) == sorted(state for _, _, state in ends)
    wait_for("nothing to be left", lambda: proxy_is_idle(gate))


@every_dialogue
def test_a_client_may_leave_in_every_state_and_the_backend_is_left_too(gate, fake_backend, bystander, backend_tls, dialogue):
    """The backend does not hear its end from our time limit, which is longer than this test may take."""
    ends = new_states(dialogue)
    turns, reached, left = iter(ends), [], []

    def talk(talk):
        said, shakes_hands, _ = next(turns)
        play(talk, dialogue, backend_tls, said, shakes_hands)
        reached.append(said)
        try:
            while True:
                talk.line()
        finally:
            left.append(said)
    gate.settings["login_proxy_timeout"] = "500 s"
    send_to(gate, fake_backend(talk).port, **dialogue.fields)
    with bystander(dialogue.protocol) as held:
        for count, _ in enumerate(ends, 1):
            connection = begun(held.wire(gate))
            wait_for("the state", lambda: len(reached) == count)
            if count % 2:
                connection.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.client.close()
            wait_for("the backend to be left", lambda: len(left) == count)
    wait_for("nothing to be left", lambda: proxy_is_idle(gate))
    assert not errors(gate, held.wire.program)


NONSENSE = [
    b"\0\1\2\xff\xfe\x1b[31m\x07\r\n", b"\r\n", b"\n\n\n\n", b"\r\r\r\n", b" \r\n", b"x" * 5000 + b"\r\n", b"x" * 70000, b"HTTP/1.1 400 Bad\r\n\r\n",
    b"* BYE\r\n", b"* PREAUTH in\r\n", b"-\r\n", b"+\r\n", b"+" * 3000 + b"\r\n", b"+OX\0\r\n", b"-ERR\0\r\n", b"999 x\r\n", b"2\r\n", b"22", b"354 go on\r\n",
    b"{4294967296}\r\nx\r\n", b"{18446744073709551616+}\r\n", b'"\r\n', b'"\\', b"(" * 4000 + b"\r\n", b"OKAY\r\n", b"NO\0\r\n", b'BYE {3}\r\nabc\r\n',
    b"L BAD \x1b]0;evil\x07\r\n", b"L NO [\r\n", b"L NO []]\r\n", b"* OK [CAPABILITY\r\n", b"* CAPABILITY " + b"A" * 4000 + b"\r\n", b"I\r\n", b"C\r\n", b"S\r\n",
    b"L\r\n", b"* \r\n", b"*\r\n", b"\x16\x03\x01\x02\0\1\0\1\xfc\3\3\r\n", b"\r\n" * 150,
]


@every_dialogue
def test_nonsense_in_every_state_fails_one_login_and_soils_nothing_T_BCK_02_T_BCK_03_T_BCK_09(
        gate, fake_backend, bystander, backend_tls, dialogue):
    ends = [end for end in new_states(dialogue) if end[1]]
    cases = [(end, text) for end in ends for text in NONSENSE]
    turns = iter(cases)

    def talk(talk):
        (said, shakes_hands, _), text = next(turns)
        if said:
            play(talk, dialogue, backend_tls, said, shakes_hands)
        talk.send(text)
    send_to(gate, fake_backend(talk).port, **dialogue.fields)
    good = [UNAVAILABLE, MISCONFIGURED, REFUSED]
    with bystander(dialogue.protocol) as held, held.wire(gate) as connection:
        for end, text in cases:
            reply = login(connection)
            assert any(re.fullmatch(one[dialogue.protocol], reply) for one in good), (end, text[:60], reply)
            assert len(reply) <= 510 and reply.isprintable(), (end, text[:60], reply)
    text = gate.log.read_bytes()
    assert not re.search(rb"[^\n -~]", text), "no control bytes in the log"
    assert max(len(line) for line in text.splitlines()) < 1000


def questions(dialogue):
    """Places where something is asked in plain sight or inside TLS: the step that is answered by a question, and the one behind it."""
    return [i for i, step in enumerate(dialogue.steps[:-1]) if step.hear]


@every_dialogue
def test_an_answer_before_its_question_is_none_T_BCK_01_T_TLS_02(gate, fake_backend, bystander, backend_tls, dialogue):
    """Glued to the words before: only what was asked for in one go may be answered in one go."""
    places = questions(dialogue)
    turns = iter(places)

    def talk(talk):
        at = next(turns)
        for i, step in enumerate(dialogue.steps):
            if i == at:  # that, and all that is to follow
                talk.send(b"".join(later.say for later in dialogue.steps[i:]))
                break
            talk.send(step.say)
            if step.tls:
                talk.starttls(backend_tls)
            for _ in step.hear:
                talk.line()
        talk.line()
    fake = fake_backend(talk)
    send_to(gate, fake.port, **dialogue.fields)
    with bystander(dialogue.protocol) as held, held.wire(gate) as connection:
        for place in places:
            reply = login(connection)
            assert re.fullmatch(UNAVAILABLE[dialogue.protocol], reply), (dialogue.steps[place], reply)
        lines = wait_for("a line for each", lambda: len(e := errors(gate, held.wire.program)) >= len(places) and e)
    for place, line in zip(places, lines):
        behind_tls = "Input behind the reply to STARTTLS" if dialogue.steps[place].tls else "Answer before the (first )?command: "
        assert re.search(r"\): Remote server sent invalid input: " + behind_tls, line), (dialogue.steps[place], line)


@pytest.mark.parametrize("late", [False, True], ids=["in the same segment", "in one of its own"])
@pytest.mark.parametrize("dialogue", [d for d in DIALOGUES if d.name == "starttls"], ids=str)
def test_plaintext_behind_the_go_ahead_is_not_taken_for_what_comes_inside_tls_T_TLS_02(gate, fake_backend, bystander, backend_tls, dialogue, late):
    """Whoever is on the way may send it, one byte of it or all, and then let the real handshake through."""
    rest = [step.say for step in dialogue.steps]
    at = next(i for i, step in enumerate(dialogue.steps) if step.tls)
    injected = [b"".join(rest[at + 1:]), rest[-1], rest[-1][:1], b"\r\n", b"\0"]
    turns = iter(injected)

    def talk(talk):
        for step in dialogue.steps[:at]:
            talk.send(step.say)
            for _ in step.hear:
                talk.line()
        text = next(turns)
        if late:
            talk.send(rest[at])
            talk.wait_for_input()  # the hello of TLS is on its way
            talk.send(text)
        else:
            talk.send(rest[at] + text)
        talk.starttls(backend_tls)
        for step in dialogue.steps[at + 1:]:
            talk.send(step.say)
            for _ in step.hear:
                talk.line()
    fake = fake_backend(talk)
    send_to(gate, fake.port, **dialogue.fields)
    with bystander(dialogue.protocol) as held, held.wire(gate) as connection:
        for text in injected:
            reply = login(connection)
            assert any(re.fullmatch(one[dialogue.protocol], reply) for one in (UNAVAILABLE, MISCONFIGURED)), (text, reply)
    assert PASSWORD.encode() not in fake.received and base64.b64encode(PASSWORD.encode())[:-4] not in fake.received


@pytest.mark.parametrize("field, case", [("starttls", "not offered"), ("starttls", "refused"), ("ssl", "plaintext")])
@pytest.mark.parametrize("value", ["yes", "any-cert"])
@pytest.mark.parametrize("service", WIRES)
def test_where_tls_is_asked_for_nothing_private_goes_out_without_T_TLS_03(gate, fake_backend, service, value, field, case):
    """Not the password, and neither who logs in nor where from: somebody on the way has cut TLS out of what is offered."""
    dialogue = next(d for d in DIALOGUES if d.protocol == service and d.name == ("starttls" if case == "refused" else "login"))

    def talk(talk):
        for step in dialogue.steps:
            talk.send({"imap": b"S NO no\r\n", "pop3": b"-ERR no\r\n", "submission": b"454 no\r\n", "sieve": b"NO\r\n"}[service] if step.tls else step.say)
            talk.line()
    fake = fake_backend(talk)
    send_to(gate, fake.port, **{field: value})
    gate.start()
    with WIRES[service](gate) as connection:
        reply = login(connection)
    assert any(re.fullmatch(one[service], reply) for one in (UNAVAILABLE, MISCONFIGURED)), reply
    plain = bytes(fake.received).partition(b"\x16\x03")[0]  # before the hello of TLS
    assert re.fullmatch(rb"(EHLO \S+\r\n)?((S )?STARTTLS\r\n|STLS\r\n)?", plain), plain
    assert not re.search(rb"127\.0\.0\.1|XCLIENT|u1|pw-of", fake.received), fake.received


FLOODS = {  # each of lines that are right where they stand
    "imap": b"* OK [CAPABILITY IMAP4rev1] hi\r\n", "pop3": b"+OK hi\r\n", "submission": b"220-hi\r\n", "sieve": b'"IMPLEMENTATION" "x"\r\n'}


@pytest.mark.parametrize("unit", ["line", "of no end", "drop by drop"])
@pytest.mark.parametrize("service", WIRES)
def test_a_flood_of_a_greeting_ends_at_a_bound_T_BCK_04_T_BCK_09(gate, fake_backend, bystander, service, unit):
    ended = threading.Event()

    def talk(talk):
        try:
            if unit == "drop by drop":
                for byte in FLOODS[service][:-2] + b"x" * 1000:
                    talk.send(bytes([byte]))
                    time.sleep(0.02)
            for _ in range(2000):  # megabytes
                talk.send(FLOODS[service] * 100 if unit == "line" else b"x" * 4000)
        finally:
            ended.set()
    send_to(gate, fake_backend(talk).port, proxy_timeout="2")
    with bystander(service) as held, held.wire(gate) as connection:
        assert re.fullmatch(UNAVAILABLE[service], login(connection))
        line = wait_for("the line", lambda: errors(gate, held.wire.program))[0]
    assert ended.wait(10)
    expected = {"line": "Too many input lines|Too much input|Answer before the first command|Inconsistent|Too long",
                "of no end": "Too long input line", "drop by drop": r"Login timed out in state=(/none|banner|none) \(after 2 secs"}
    assert re.search(expected[unit], line), line


@pytest.mark.alone
def test_a_backend_that_dies_under_500_sessions_ends_those_and_no_other_T_BCK_07_T_BCK_09(gate, fake_backend, crowd_backend, backend_tls):
    """By one process of IMAP, half of the sessions over TLS to us; what is counted comes back to nothing."""
    gate.service |= {"client_limit": "2000"}
    gate.settings["default_client_limit"] = "4000"
    send_to(gate, crowd_backend.port)
    other = fake_backend(fakes.serve)
    gate.add_user("other", PASSWORD, proxy="y", host="127.0.0.1", port=other.port)
    gate.start()
    (pid,) = gate.pids("imap-login")
    held, clients = [Imap(gate.port) for _ in range(5)], []
    try:
        for client in held:
            assert client.login("other", PASSWORD).startswith("OK ")
        for _ in range(5):
            batch = [Imap(gate.port, timeout=60) for _ in range(100)]
            clients += batch
            for client in batch:
                client.send(f"a LOGIN u1 {PASSWORD}\r\n")
            for client in batch:
                assert client.answer("a")[-1].startswith("a OK ")
        descriptors = number_of_descriptors(pid)
        assert descriptors > 1000
        crowd_backend.die()
        for client in clients:
            assert client.at_end()
            client.close()
        rows = wait_for("their end", lambda: len(r := gate.ctl("proxy", "list", form="json").json()) == 5 and r)
        assert {row["username"] for row in rows} == {"other"}
        wait_for("their descriptors' end", lambda: number_of_descriptors(pid) < descriptors - 990)
        status = {row["port"]: row for row in gate.ctl("proxy", "status", form="json").json()}
        assert (status[str(crowd_backend.port)]["pending"], status[str(crowd_backend.port)]["sessions"]) == ("0", "0")
        assert status[str(other.port)]["sessions"] == "5"
        for client in held:
            assert " OK " in client.command("NOOP")[-1]
        assert gate.pids("imap-login") == [pid]
        told = [line for line in gate.log_text().splitlines() if f"proxy(u1,127.0.0.1:{crowd_backend.port}): Disconnected by server" in line]
        assert len(told) == 500
        # And those who come back are told at once that it is gone.
        with Imap(gate.port) as again:
            assert re.fullmatch(UNAVAILABLE["imap"], "a " + again.login("u1", PASSWORD))
    finally:
        for client in held + clients:
            client.close()
