"""Chains of proxies, Dovecot's before Postern and behind it: who the client is, its session and what is forwarded stay the same to the end,
and a loop ends."""
import os
import re

import pytest

from harness.dovecot import Dovecot
from harness.procs import wait_for
from harness.wires import PROTOCOLS, WIRES

SOURCE = ("127.0.0.9", 0)
ELEMENTS = "user=<%u> method=%m rip=%r lip=%l mpid=%e %c session=<%{session}> color=%{passdb:forward_color}"
LOOPING = "TTL reached zero - proxies appear to be looping?"
ORDERS = ["dovecot-postern", "postern-dovecot"]


@pytest.fixture(scope="module")
def proxy(session_directory, authority):
    dovecot = Dovecot(session_directory / "dovecot-proxy", authority.issue("dovecot-proxy", ["127.0.0.1"]),
                      extra="login_proxy_max_reconnects = 0\n").start()
    yield dovecot
    dovecot.stop()


@pytest.fixture(scope="module")
def last(session_directory, authority):
    """The mail server at the end, which logs a field that was forwarded."""
    dovecot = Dovecot(session_directory / "dovecot-last", authority.issue("dovecot-last", ["127.0.0.1"]),
                      extra=f"login_log_format_elements = {ELEMENTS}\n").start()
    yield dovecot
    dovecot.stop()


@pytest.fixture
def chain(postern, proxy, last):
    """A function that makes a user who goes through both proxies, and says what the chain is: (first, second, name, password)."""
    postern.settings |= {"protocols": PROTOCOLS, "login_trusted_networks": "127.0.0.0/8", "hostname": "gate.example",
                         "login_proxy_max_reconnects": "0"}  # or each hop of a loop tries what the next has tried four times

    def make(order, wire, to=None, **fields):
        name, password = f"chain{os.urandom(5).hex()}", f"pw-{os.urandom(8).hex()}"
        first, second = (proxy, postern) if order == "dovecot-postern" else (postern, proxy)
        last.add_user(name, password)
        for hop, target, given in ((first, second, fields), (second, to or last, {})):
            port = wire.backend_port(target) if isinstance(target, Dovecot) else port_of(target, wire)
            if hop is proxy:
                proxy.send_on(name, password, port, **given)
            else:
                postern.add_user(name, password, proxy="y", host="127.0.0.1", port=port, **given)
        postern.start()
        return first, second, name, password
    return make


def port_of(postern, wire):
    return {"imap": postern.port, "pop3": postern.pop3_port, "submission": postern.submission_port, "sieve": postern.sieve_port}[wire.service]


def log_in(wire, first, name, password, ttl=None):
    """The client's connection, after its attempt; with `ttl` it says that it is a proxy itself, with so many hops left."""
    connection = wire(first, source=SOURCE)
    if ttl is not None:
        line = f'x ID ("x-proxy-ttl" "{ttl}")\r\n' if wire.service == "imap" else f"XCLIENT TTL={ttl}\r\n"
        if wire.service == "submission":
            connection.client.ehlo()
        connection.client.send(line)
        answer = {"imap": lambda: connection.client.answer("x"), "submission": lambda: connection.client.reply(),
                  "sieve": lambda: connection.client.answer(), "pop3": lambda: [connection.client.line()]}[wire.service]()
        assert re.match(r"x OK|220 |OK|\+OK", answer[-1]), answer
    if wire.service == "submission":
        connection.client.ehlo("laptop.example")
    connection.begin("PLAIN", f"\0{name}\0{password}".encode())
    connection.reply = connection.line_of_dialogue()
    return connection


def session_of(server, pattern):
    """The session id in the first log line that matches."""
    line = wait_for(f"/{pattern}/ in the log", lambda: re.search(pattern + ".*", server.log_text()), 20).group()
    assert "rip=127.0.0.9," in line, line
    return re.search(r"session=<([^>]+)>", line).group(1)


@pytest.mark.parametrize("service", list(WIRES))
@pytest.mark.parametrize("order", ORDERS)
def test_client_session_and_fields_reach_the_last(chain, last, order, service):
    wire = WIRES[service]
    first, second, name, password = chain(order, wire, forward_color="blue")
    connection = log_in(wire, first, name, password)
    assert re.match(wire.good, connection.reply), connection.reply
    assert connection.works()
    program = wire.program
    started = rf"{program}: Info: proxy\({name},127\.0\.0\.1:\d+\): Started proxying to "
    login = rf"{program}: Info: Login: user=<{name}>"
    sessions = [session_of(first, started), session_of(second, started), session_of(last, login)]
    assert len(set(sessions)) == 1, sessions
    assert re.search(login + r".*color=blue", last.log_text())
    connection.client.send(wire.quit)


@pytest.mark.parametrize("service", list(WIRES))
@pytest.mark.parametrize("order", ORDERS)
def test_each_hop_counts(chain, last, order, service):
    """Three left are enough for two proxies, two are not: the second says so."""
    wire = WIRES[service]
    first, second, name, password = chain(order, wire)
    connection = log_in(wire, first, name, password, ttl=3)
    assert re.match(wire.good, connection.reply), connection.reply
    connection.client.send(wire.quit)
    before = second.log_text().count(LOOPING)
    refused = log_in(wire, first, name, password, ttl=2)
    assert not re.match(wire.good, refused.reply), refused.reply
    wait_for("the line", lambda: second.log_text().count(LOOPING) == before + 1)
    assert last.log_text().count(f"Login: user=<{name}>") == 1


@pytest.mark.parametrize("service", list(WIRES))
@pytest.mark.parametrize("order", ORDERS)
def test_a_loop_ends(chain, postern, proxy, order, service):
    """Each sends the user to the other."""
    wire = WIRES[service]
    first, second, name, password = chain(order, wire, to=proxy if order == "dovecot-postern" else postern)
    connection = log_in(wire, first, name, password)
    assert not re.match(wire.good, connection.reply), connection.reply
    # IMAP forwards where the client had connected, too, and who is about to go there knows it at once.
    looping = re.compile(rf"(?:{re.escape(LOOPING)}|Proxying loops to itself): user=<{name}>")
    wait_for("one of them to say so", lambda: looping.search(first.log_text() + second.log_text()))
    for server in (first, second):
        assert "): Started proxying to" not in "".join(line for line in server.log_text().splitlines() if f"user=<{name}>" in line)
