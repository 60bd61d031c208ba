"""What strangers and databases put into names, wherever it is shown: on no line but its own, and as nothing that a terminal obeys."""
import base64
import pathlib
import re
import subprocess

import pytest

from harness.imap import Imap
from harness.pop3 import Pop3
from harness.postern import build_tree, environment
from harness.procs import wait_for
from harness.sieve import Sieve
from harness.smtp import Smtp

# ESC, CR LF and a forged line, DEL, C1's own CSI, three ways to turn the direction of text, a line separator, the end of user=<…>.
MARKS = ["\x1b[31m", "\r\nimap-login: Info: Login: user=<forged>", "\x7f", "\u009b31m", "\u202e", "\u2066", "\u061c", "\u2028", ">, rip=6.6.6.6", "\t"]
OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def check(text, where):
    """`text` as a terminal or a program that reads lines would get it."""
    if isinstance(text, bytes):
        text = text.decode()  # always UTF-8
    found = OBEYED.search(text)
    assert not found, (where, text[max(0, found.start() - 80):found.end() + 20])
    assert not re.search(r"^(\S+ \S+ )?(\d+ )?imap-login: Info: Login: ", text, re.M), where
    assert "=<a>, rip=6" not in text, where


def shown(text):
    """A pattern for `text` as a log line shows it: with a question mark for each byte or character that something would obey."""
    return "".join(r"\?+" if OBEYED.match(char) or char in "<>\t\n" else re.escape(char) for char in text)


def token(name, password):
    return base64.b64encode(b"\0" + name.encode() + b"\0" + password.encode()).decode()


def authenticate(client, name, password):
    return client.command(f"AUTHENTICATE PLAIN {token(name, password)}")[-1]


@pytest.fixture
def open_postern(postern):
    """Takes any name, believes 127.0.0.2, logs all it knows."""
    postern.settings |= {
        "auth_username_chars": "", "auth_username_format": "%u", "disable_plaintext_auth": "no", "login_trusted_networks": "127.0.0.2", "auth_debug": "yes",
        "imap_id_log": "*", "verbose_proctitle": "yes",
        "login_log_format_elements": "user=<%u> method=%m rip=%r lip=%l sni=<%{local_name}> session=<%{session}> orig=<%{orig_user}>"}
    return postern


def all_outputs(postern):
    yield "log", postern.log.read_bytes()
    for command in (("who", "-1"), ("who",), ("proxy", "list"), ("log", "errors"), ("process", "status")):
        for form in ("table", "tab", "json"):
            done = subprocess.run([build_tree() / "src/ctl/posternctl", "-c", postern.conf, "-f", form, *command], capture_output=True,
                                  timeout=60, env=environment())
            assert done.returncode == 0, done.stderr
            text = done.stdout + done.stderr
            yield f"{command} {form}", text.replace(b"\t", b"") if form == "tab" else text
    for pid in postern.pids("imap-login"):
        yield "title", pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")


def test_marks_in_names_ids_sessions_and_server_names_reach_nobody_T_NET_12(open_postern, tls, crowd_backend):
    postern = open_postern
    clients, names = [], []
    try:
        for number, mark in enumerate(MARKS):
            names.append(f"a{mark}{number}")
            postern.add_user(names[-1], f"pw-{number}-77f1", proxy="y", host="127.0.0.1", port=crowd_backend.port, forward_color=f"red{mark}",
                             destuser=f"there{mark}" if "\r" not in mark else None)
        postern.start()
        for number, (name, mark) in enumerate(zip(names, MARKS)):
            client = Imap(postern.port, source=("127.0.0.2", 0))
            clients.append(client)
            plain = mark.replace("\r\n", "")
            client.send(f'i ID ("name" "n{plain}" "x-session-id" "s{plain}" "x-proxy-ttl" "5")\r\n'.encode())
            client.answer("i")
            assert " OK " in authenticate(client, name, f"pw-{number}-77f1"), name
            with Imap(postern.port, source=(f"127.0.3.{number + 1}", 0)) as guesser:
                authenticate(guesser, name, "wrong")
        # A server name is sent as it is, too.
        tls.check_hostname = False
        for name in ("a\x1b[31m", "a>, rip=6.6.6.6", "a\x7f"):
            with Imap(postern.tls_port, tls, name=name) as client:
                client.command("LOGOUT")
        tls.check_hostname = True
        wait_for("the guessers' lines", lambda: postern.log_text().count("auth failed, 1 attempts") >= len(MARKS))
        # Each mark came as far as the lines, and is shown there.
        for name in names:
            postern.wait_log(rf"imap-login: Info: proxy\({shown(name)},127\.0\.0\.1:{crowd_backend.port}\): Started proxying")
            postern.wait_log(rf"imap-login: Info: Disconnected: .* \(auth failed, 1 attempts .*: user=<{shown(name)}>")
        for where, text in all_outputs(postern):
            check(text, where)
        # JSON has the names as they are, for programs.
        rows = postern.ctl("who", "-1", form="json").json()
        assert {row["username"] for row in rows} == set(names)
    finally:
        for client in clients:
            client.close()


def marked_logins(postern, protocol, name, source):
    """Wrong passwords for `name` through every door of the protocol; yields what is said."""
    if protocol == "pop3":
        with Pop3(postern.pop3_port, source=(source, 0)) as client:
            yield client.command(f"AUTH PLAIN {token(name, 'wrong')}")
    elif protocol == "managesieve":
        with Sieve(postern.sieve_port, source=(source, 0)) as client:
            yield client.command(f'AUTHENTICATE "PLAIN" "{token(name, "wrong")}"')
    else:
        with Smtp(postern.submission_port, source=(source, 0)) as client:
            plain = name.replace("\r\n", "")
            for verb in ("EHLO", "HELO"):
                client.send(f"{verb} {plain}\r\n")
                yield from client.reply()
            client.send(f"XCLIENT HELO={plain.replace(' ', '+20')} LOGIN={plain.replace(' ', '+20')}\r\n")
            yield from client.reply()
            client.send(f"EHLO {plain}\r\n")
            yield from client.reply()
            client.send(f"AUTH PLAIN {token(name, 'wrong')}\r\n")
            yield from client.reply()


@pytest.mark.parametrize("protocol", ["pop3", "submission", "managesieve"])
def test_marks_in_names_reach_nobody_by_the_other_protocols_T_NET_12(open_postern, protocol):
    postern = open_postern
    # An address for each, as one that guesses is made to wait.
    postern.settings |= {"protocols": "imap pop3 submission sieve", "login_trusted_networks": "127.0.0.64/26"}
    postern.start()
    for number, mark in enumerate(MARKS):
        for line in marked_logins(postern, protocol, f"a{mark}{number}", f"127.0.0.{64 + number}"):
            assert not OBEYED.search(line), (mark, line)
    for number, mark in enumerate(MARKS):
        postern.wait_log(rf"{protocol}-login: Info: Disconnected: .*auth failed, 1 attempts .*: user=<{shown(f'a{mark}{number}')}>")
    for where, text in all_outputs(postern):
        check(text, where)


DEAD = r"imap-login: Error: proxy\({user},127\.0\.0\.1:9\): connect\(127\.0\.0\.1, 9\) failed"


# What each user's line says, with the mark in it where the field's value is repeated.
@pytest.mark.parametrize("field,value,said", [
    ("host", "no such{}host", r"auth: Error: auth\({user},.*Invalid host in passdb: no such{mark}host"),
    ("port", "1{}", r"auth: Error: auth\({user},.*Invalid port in passdb: 1{mark}"),
    ("proxy_timeout", "{}s", r"auth: Error: auth\({user},.*Invalid proxy_timeout in passdb: {mark}s"),
    ("ssl", "{}", DEAD),
    ("destuser", "x{}\r\n", DEAD),
    ("nologin", "{}", r"imap-login: Info: Disconnected: .*: user=<{user}>"),
    ("proxy_mech", "{}", r"imap-login: Error: proxy\({user}\): Unsupported SASL mechanism {mark}: "),
    ("proxy", "{}", DEAD)])
def test_marks_in_a_databases_fields_reach_nobody_T_NET_12(open_postern, field, value, said):
    postern = open_postern
    for number, mark in enumerate(MARKS):
        row = {"proxy": "y", "host": "127.0.0.1", "port": 9} | {field: value.format(mark)}
        postern.add_user(f"u{number}", "pw-of-all-55c2", **row)
    postern.settings |= {"proxy_down_failures": "0", "login_proxy_max_reconnects": "0"}  # each is to be tried, once
    postern.start()
    for number in range(len(MARKS)):
        with Imap(postern.port) as client:
            client.send(f"a LOGIN u{number} pw-of-all-55c2\r\n")
            answer = client.answer("a")
            assert not any(OBEYED.search(line) for line in answer), answer
    for number, mark in enumerate(MARKS):
        postern.wait_log(said.format(user=f"u{number}", mark=shown(mark)))
    for where, text in all_outputs(postern):
        check(text, where)


def test_marks_in_the_configuration_reach_no_terminal_T_NET_12(postern):
    keys = {"login_greeting": "{}", "auth_mechanisms": "pl{}ain", "ssl_min_protocol": "{}", "listen": "a{}b", "login_timeout": "1{}", "nosuch{}key": "x",
            "base_dir": "/tmp/{}", "ssl_cert": "</no{}file", "log_path": "/no{}where/log", "login_log_format": "%{{x{}}}"}
    for mark in MARKS:
        mark = mark.replace("\r\n", "").replace("\t", "")
        postern.extra = f"\n[passdb x{mark}y]\ndriver = no{mark}ne\n[inet_{mark}listener imap-login x]\nport = 1\n"
        before = dict(postern.settings)
        postern.settings |= {key.format(mark): value.format(mark) for key, value in keys.items()}
        for option in ("-t", "-n"):
            done = postern.check_configuration(option)
            check(done.out + done.err, (option, mark))
            assert done.code == 78, (option, mark, done.err)
        postern.settings = before


def test_the_marks_are_those_that_terminals_obey():
    """The check itself fails on every one of them."""
    for mark in MARKS[:-2]:  # the bracket is caught in its element only, and tabs are blanks
        with pytest.raises(AssertionError):
            check(f"x {mark} y", "here")
