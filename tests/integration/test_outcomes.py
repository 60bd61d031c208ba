"""What a client is told of an authentication, and what the log says: every answer of auth in every protocol.

The auth server is scripted. Replies and remarks are those recorded from Dovecot 2.3."""
import re
import time

import pytest

from harness import sasl
from harness.procs import wait_for
from harness.scripted_auth import ScriptedAuth
from harness.wires import PROTOCOLS, WIRES, decoded

STAMP = r"\[[\w.-]+:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]"
TEMPORARY = "Temporary authentication failure. STAMP"
FAILED = "(auth failed, 1 attempts in N secs)"
SUCCEEDED = "(internal failure, 1 successful auths)"

# name: (what auth says behind the number, text for the client, {protocol: what stands before it}, remark in the log).
# The user of a row is its name; where auth names none, the log has none.
CREDENTIALS = {"imap": "NO [AUTHENTICATIONFAILED]", "pop3": "-ERR [AUTH]", "submission": "535 5.7.8", "sieve": "NO"}
REASON = CREDENTIALS | {"imap": "NO [ALERT]"}
EXPIRED = CREDENTIALS | {"imap": "NO [EXPIRED]"}
AUTHZ = CREDENTIALS | {"imap": "NO [AUTHORIZATIONFAILED]"}
AS_IT_IS = CREDENTIALS | {"imap": "NO", "pop3": "-ERR"}
LATER = {"imap": "NO [UNAVAILABLE]", "pop3": "-ERR [SYS/TEMP]", "submission": "454 4.7.0", "sieve": "NO (TRYLATER)"}
DISABLED = {"imap": "NO [CONTACTADMIN]", "pop3": "-ERR [AUTH]", "submission": "525 5.7.13", "sieve": "NO"}
REFERRAL = {"imap": "NO [REFERRAL imap://bob;AUTH=PLAIN@192.0.2.7:1143/]", "pop3": "-ERR", "submission": "535 5.7.8",
            "sieve": "NO (REFERRAL sieve://bob;AUTH=PLAIN@192.0.2.7:1143)"}
OUTCOMES = {
    "wrong": ("FAIL user=wrong", "Authentication failed.", CREDENTIALS, FAILED),
    "reason": ("FAIL user=reason reason=Too_many,_try_later", "Too many, try later", REASON, FAILED),
    "bracket": ("FAIL user=bracket reason=[LIMIT]_Slow_down", "[LIMIT] Slow down", AS_IT_IS, FAILED),
    "in-use": ("FAIL user=in-use reason=[IN-USE]_Maildrop_locked", "[IN-USE] Maildrop locked", AS_IT_IS, FAILED),
    "long": ("FAIL user=long reason=" + "r" * 900, "r" * 900, REASON, FAILED),
    "unknown-code": ("FAIL user=unknown-code code=something_new", "Authentication failed.", CREDENTIALS, FAILED),
    "authz": ("FAIL user=authz authz code=authz_fail", "Authorization failed", AUTHZ, "(authorization failed, 1 attempts in N secs)"),
    "authz-reason": ("FAIL user=authz-reason code=authz_fail reason=No_such_role", "No such role", AUTHZ,
                     "(authorization failed, 1 attempts in N secs)"),
    "temp": ("FAIL user=temp temp code=temp_fail", TEMPORARY, LATER, "(auth service reported temporary failure)"),
    "temp-reason": ("FAIL user=temp-reason code=temp_fail reason=Database_down", TEMPORARY, LATER,
                    "(auth service reported temporary failure)"),
    "disabled": ("FAIL user=disabled user_disabled code=user_disabled", "Authentication failed.", CREDENTIALS, "(user disabled)"),
    "disabled-reason": ("FAIL user=disabled-reason code=user_disabled reason=Bill_unpaid", "Bill unpaid", REASON, "(user disabled)"),
    "expired": ("FAIL user=expired pass_expired code=pass_expired", "Authentication failed.", EXPIRED, "(password expired)"),
    "expired-reason": ("FAIL user=expired-reason code=pass_expired reason=Change_it_at_the_portal", "Change it at the portal",
                       EXPIRED, "(password expired)"),
    "base64": ("FAIL code=invalid_base64 reason=Invalid_base64", "Invalid base64",
               {"imap": "BAD", "pop3": "-ERR [AUTH]", "submission": "501 5.5.2", "sieve": "NO"}, "(sent invalid base64 in response)"),
    "mechanism": ("FAIL code=auth_mech_invalid", "Authentication failed.", REASON | {"submission": "504 5.5.4"},
                  "(tried to use unsupported auth mechanism)"),
    "plaintext": ("FAIL code=auth_mech_ssl_required", "Authentication failed.",
                  CREDENTIALS | {"imap": "NO [PRIVACYREQUIRED]", "submission": "523 5.7.10"}, "(tried to use disallowed plaintext auth)"),
    "anonymous": ("FAIL code=anonymous_denied", "Authentication failed.", DISABLED | {"pop3": "-ERR"}, FAILED),
    "nologin": ("OK user=nologin nologin", "Login disabled for this user", DISABLED, SUCCEEDED),
    "nologin-reason": ("OK user=nologin-reason nologin reason=Closed", "Closed", DISABLED, SUCCEEDED),
    "nologin-code": ("OK user=nologin-code nologin code=user_disabled", "Login disabled for this user", DISABLED, SUCCEEDED),
    "refer": ("OK user=refer nologin host=192.0.2.7 port=1143 destuser=bob reason=Go_there", "Go there", REFERRAL, SUCCEEDED),
    "no-pass": ("OK user=no-pass proxy host=192.0.2.7", "Account is temporarily unavailable.", LATER, SUCCEEDED),
    "no-host": ("OK user=no-host proxy pass=x", "Account is temporarily unavailable.", LATER, SUCCEEDED),
    "no-mechanism": ("OK user=no-mechanism proxy pass=x host=127.0.0.1 proxy_mech=NOSUCH", "Account is temporarily unavailable.",
                     LATER, SUCCEEDED),
    "no-address": ("OK user=no-address proxy pass=x host=mail.example.test", "Account is temporarily unavailable.",
                   LATER, SUCCEEDED),
}


def spoken(service, before, text):
    """A reply as its protocol writes it; IMAP's without the tag."""
    return f'{before} "{text}"' if service == "sieve" else f"{before} {text}"


def pattern(reply):
    return re.escape(reply).replace("STAMP", STAMP)


def answer(fields):
    """What the row says whose name is the user's."""
    if not fields[-1].startswith("resp="):
        return f"CONT\t{fields[1]}\t"
    if not fields[-1].startswith("resp="):
        return f"CONT\t{fields[1]}\t"
    name = sasl_user(fields)
    verb, *rest = OUTCOMES[name][0].split(" ")
    return "\t".join([verb, fields[1], *(word.replace("_", " ") if word.startswith("reason=") else word for word in rest)])


def sasl_user(fields):
    return decoded(fields[-1].removeprefix("resp=")).split(b"\0")[1].decode()


@pytest.fixture
def scripted(postern):
    """Makes a Postern whose auth server answers as told."""
    made = []

    def make(answer, mechanisms=("PLAIN",), **settings):
        path = postern.directory / "auth.sock"
        made.append(ScriptedAuth(path, mechanisms, answer))
        postern.passdbs = {}
        postern.settings |= {"protocols": PROTOCOLS, "auth_socket_path": str(path), **settings}
        postern.start()
        return made[-1]
    yield make
    for auth in made:
        auth.close()


def attempt(connection, name):
    return connection.authenticate("PLAIN", sasl.client("PLAIN", name, "pw-of-" + name))


def said(service, reply):
    """The reply without the tag."""
    return reply.partition(" ")[2] if service == "imap" else reply


@pytest.mark.parametrize("service", WIRES)
def test_every_answer_of_auth_reaches_the_client_and_the_log_as_recorded(postern, scripted, service):
    wire = WIRES[service]
    scripted(answer)
    pid = postern.pids(wire.program)
    wrong = []
    for name, (auth, text, replies, remark) in OUTCOMES.items():
        with wire(postern) as connection:
            reply = said(service, attempt(connection, name))
            if not re.fullmatch(pattern(spoken(service, replies[service], text)), reply):
                wrong.append(f"{name}: the client was told {reply!r}, not {spoken(service, replies[service], text)!r}")
            # The connection goes on, whatever it was.
            again = said(service, attempt(connection, "wrong"))
            if again != spoken(service, CREDENTIALS[service], "Authentication failed."):
                wrong.append(f"{name}: the next attempt was answered {again!r}")
    for name, (auth, text, replies, remark) in OUTCOMES.items():
        with wire(postern) as connection:
            attempt(connection, name)
        user = name if f"user={name}" in auth.split() else ""
        line = rf"{wire.program}: Info: Disconnected: Connection closed {re.escape(remark)}: user=<{user}>, method=PLAIN, rip=127\.0\.0\.1, ".replace("N\\ secs", "\\d+\\ secs")
        try:
            wait_for("its line", lambda: re.search(line, postern.log_text()), 3)
        except AssertionError:
            last = [l for l in postern.log_text().splitlines() if f"user=<{user}>" in l][-1:]
            wrong.append(f"{name}: no line {line}, but {last}")
    assert not wrong, "\n".join(wrong)
    assert postern.pids(wire.program) == pid  # none of them was its last (Dovecot dies of the last four)


@pytest.mark.parametrize("compat", ["", "dovecot-2.3"])
@pytest.mark.parametrize("service", WIRES)
def test_a_lost_auth_server_is_a_temporary_failure(postern, scripted, service, compat):
    """Dovecot 2.3 says "wrong password", and clients forget it."""
    wire = WIRES[service]
    auth = scripted(None, **({"login_compat": compat} if compat else {}))
    with wire(postern) as connection:
        connection.begin("PLAIN", b"\0alice\0pw-of-alice")
        auth.requests.get(timeout=10)
        auth.drop()
        assert connection.challenge() is None
        before, text = (CREDENTIALS, "Authentication failed.") if compat else (LATER, TEMPORARY)
        assert re.fullmatch(pattern(spoken(service, before[service], text)), said(service, connection.reply)), connection.reply
    postern.wait_log(rf"{wire.program}: Info: Disconnected: Connection closed \(auth process communication failure\): user=<>, method=PLAIN, ")
    postern.wait_log(rf"{wire.program}: Warning: auth-client: conn unix:.*: Auth connection closed with 1 pending requests \(max \d+ secs, pid=\d+, EOF\)")


@pytest.mark.parametrize("service", WIRES)
def test_login_max_auth_attempts_closes_after_so_many_failures(postern, scripted, service):
    wire = WIRES[service]
    scripted(answer, login_max_auth_attempts="3")
    with wire(postern) as connection:
        assert attempt(connection, "temp") and attempt(connection, "temp")  # no fault of the client's
        for _ in range(3):
            assert said(service, attempt(connection, "wrong")) == spoken(service, CREDENTIALS[service], "Authentication failed.")
        assert re.fullmatch(connection.farewell("Too many failed authentications"), connection.client.line())
        assert connection.client.at_end()
    postern.wait_log(rf"{wire.program}: Info: Disconnected: Too many failed authentications \(auth failed, 5 attempts in \d+ secs\): user=<wrong>, ")


@pytest.mark.parametrize("compat", ["", "dovecot-2.3"])
@pytest.mark.parametrize("service", WIRES)
def test_ten_failures_on_one_connection_are_told_before_it_ends(postern, scripted, service, compat):
    wire = WIRES[service]
    scripted(answer, **({"login_compat": compat} if compat else {}))
    with wire(postern) as connection:
        for _ in range(20):
            attempt(connection, "wrong")
        lines = rf"{wire.program}: Info: Auth failed: (\d+) attempts in \d+ secs: user=<wrong>, method=PLAIN, rip=127\.0\.0\.1, "
        if not compat:
            wait_for("both lines", lambda: re.findall(lines, postern.log_text()) == ["10", "20"])
        else:
            time.sleep(0.5)
            assert not re.search(lines, postern.log_text())
    postern.wait_log(r"Disconnected: Connection closed \(auth failed, 20 attempts in \d+ secs\)")


@pytest.mark.parametrize("compat", ["", "dovecot-2.3"])
@pytest.mark.parametrize("service", WIRES)
def test_failures_before_a_login_are_not_hidden_by_it(postern, user, backend, service, compat):
    wire = WIRES[service]
    postern.settings["protocols"] = PROTOCOLS
    if compat:
        postern.settings["login_compat"] = compat
    name, password = user(port=wire.backend_port(backend))
    postern.start()
    with wire(postern) as connection:
        connection.authenticate("PLAIN", sasl.client("PLAIN", name, "wrong-1"))
        reply = connection.authenticate("PLAIN", sasl.client("PLAIN", name, password))
        assert re.fullmatch(wire.good, reply), reply
    postern.wait_log(rf"{wire.program}: Info: proxy\({name},.*Disconnected by client")
    told = re.findall(r"-login: Info: Auth failed: 1 attempts in \d+ secs: user=<([^>]*)>", postern.log_text())
    assert told == ([] if compat else [name])


# login_log_style = 2.4: (words, code) of a row.
STYLE_24 = {
    "wrong": ("auth failed", "auth_failed"), "authz": ("authorization failed", "authorization_failed"),
    "temp": ("auth service reported temporary failure", "temp_fail"), "disabled": ("user disabled", "user_disabled"),
    "expired": ("password expired", "password_expired"), "base64": ("sent invalid base64 in response", "invalid_base64"),
    "mechanism": ("tried to use unsupported auth mechanism", "invalid_mech"),
    "plaintext": ("tried to use disallowed cleartext auth", "cleartext_auth_disabled"),
    "anonymous": ("anonymous logins disabled", "anonymous_auth_disabled"), "nologin": ("login disabled", "login_disabled"),
    "refer": ("auth referral", "auth_nologin_referral"), "no-host": ("internal failure", "internal_failure"),
}


@pytest.mark.parametrize("service", WIRES)
def test_dovecot_2_4_would_say_it_with_a_code(postern, scripted, service):
    wire = WIRES[service]
    scripted(answer, login_log_style="2.4")
    for name in STYLE_24:
        with wire(postern) as connection:
            attempt(connection, name)
    with wire(postern):
        pass
    with wire(postern) as connection:
        connection.begin("PLAIN")
        assert connection.challenge() == b""
        connection.cancel()
        assert connection.challenge() is None
    with wire(postern) as connection:
        connection.client.send(wire.quit)
        connection.client.line()
    for name, (words, code) in STYLE_24.items():
        count = r"1/1 successful auths" if OUTCOMES[name][0].startswith("OK") else "1 attempts"
        postern.wait_log(rf"{wire.program}: Info: Login aborted: Connection closed \({words}, {count} in \d+ secs\) \({code}\): user=<")
    for line in (r"Connection closed \(no auth attempts in \d+ secs\) \(no_auth_attempts\): user=<>, ",
                 r"Connection closed \(auth aborted by client, 1 attempts in \d+ secs\) \(auth_aborted_by_client\): user=<>, method=PLAIN, ",
                 r"Logged out \(no auth attempts in \d+ secs\) \(no_auth_attempts\): user=<>, "):
        postern.wait_log(rf"{wire.program}: Info: Login aborted: {line}")
    assert "Disconnected: " not in postern.log_text()
