"""What the settings of imap-login do to what clients and backends see: greeting, capabilities, ID."""
import hashlib
import os
import re

import pytest

from harness.imap import Imap
from harness.procs import wait_for

BASE = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE"


def capabilities(line):
    return re.search(r"\[CAPABILITY ([^\]]*)\]|^\* CAPABILITY (.*)$", line).group(1, 2)


@pytest.mark.parametrize("settings, expected", [
    ({}, f"{BASE} LITERAL+ STARTTLS AUTH=PLAIN AUTH=LOGIN"),
    ({"imap_capability": "+XONE XTWO"}, f"{BASE} XONE XTWO LITERAL+ STARTTLS AUTH=PLAIN AUTH=LOGIN"),
    ({"imap_capability": "IMAP4rev2 IMAP4rev1 UTF8=ACCEPT"}, "IMAP4rev2 IMAP4rev1 UTF8=ACCEPT STARTTLS AUTH=PLAIN AUTH=LOGIN"),
    ({"imap_literal_minus": "yes"}, f"{BASE} LITERAL- STARTTLS AUTH=PLAIN AUTH=LOGIN"),
    ({"imap4rev2_enable": "yes"}, f"{BASE.replace('IMAP4rev1', 'IMAP4rev1 IMAP4rev2')} LITERAL+ STARTTLS AUTH=PLAIN AUTH=LOGIN"),
    ({"ssl": "no"}, f"{BASE} LITERAL+ AUTH=PLAIN AUTH=LOGIN"),
    ({"auth_mechanisms": "apop"}, f"{BASE} LITERAL+ STARTTLS LOGINDISABLED"),
], ids=lambda value: "-".join(value) if isinstance(value, dict) else "")
def test_capabilities(postern, settings, expected):
    postern.settings |= settings
    if settings.get("ssl") == "no":
        postern.settings = {k: v for k, v in postern.settings.items() if k not in ("ssl_cert", "ssl_key")}
    postern.start()
    with Imap(postern.port) as client:
        assert expected in capabilities(client.greeting)
        said = client.command("CAPABILITY")
        assert expected in capabilities(said[0])
        assert said[1].endswith(" OK Pre-login capabilities listed, post-login capabilities have more.")
    if "imap_literal_minus" in settings:
        with Imap(postern.port) as client:
            client.send("a LOGIN {4097+}\r\n")
            assert client.line() in ("* BYE Non-synchronizing literal size too large", "* BYE Literal size too large")
            assert client.at_end()


def test_commands_before_login_that_do_nothing_yet(postern):
    postern.start()
    with Imap(postern.port) as client:
        assert client.command("ENABLE CONDSTORE IMAP4rev2")[0] == "* ENABLED"
        assert client.command("ENABLE UTF8=ACCEPT")[-1].endswith(" OK ENABLE ignored in non-authenticated state.")
        assert client.command("COMPRESS DEFLATE")[-1].endswith(" BAD Error in IMAP command received by server.")
        assert client.command("noop")[-1].endswith(" OK NOOP completed.")
        assert client.command("LOGOUT") == ["* BYE Logging out", "t5 OK Logout completed."]
        assert client.at_end()


def test_the_greeting_has_its_variables(postern, tls):
    postern.settings["login_greeting"] = "%l %r %{local_ip} %{remote_ip} %s pid=%p name=%{local_name} 100%%"
    postern.start()
    with Imap(postern.port, source=("127.0.0.9", 0)) as client:
        pids = "|".join(map(str, postern.pids("imap-login")))
        assert re.search(rf"\] 127\.0\.0\.1 127\.0\.0\.9 127\.0\.0\.1 127\.0\.0\.9 imap pid=({pids}) name= 100%$", client.greeting)
    with Imap(postern.tls_port, tls, name="localhost") as client:
        assert client.greeting.endswith(" name=localhost 100%")


class TestId:
    def test_says_what_it_is_told_to_and_takes_every_form(self, postern):
        postern.settings |= {"imap_id_send": 'name * vendor "Acme Inc" version 7 support-url https://example.com x *', "imap_id_log": "name version"}
        postern.start()
        ours = '* ID ("name" "Postern" "vendor" "Acme Inc" "version" "7" "support-url" "https://example.com" "x" NIL)'
        with Imap(postern.port) as client:
            for argument in ('("name" "Client" "version" NIL "os" "secret")', "NIL", "()", "", '("odd")', "(\"name\" {6+}\r\nClient)"):
                said = client.command(f"ID {argument}".strip())
                assert said[0] == ours and said[1].endswith(" OK ID completed."), (argument, said)
            for argument in ("(name x)", "x", '("name" x)', '(("a" "b"))', '("' + "k" * 31 + '" "v")'):
                assert client.command(f"ID {argument}")[-1].split(" ", 1)[1].startswith("BAD "), argument
        postern.wait_log(r"imap-login: Info: ID sent: name=Client, version=NIL: user=<>, rip=127\.0\.0\.1, ")
        assert postern.log_text().count("ID sent") == 1

    def test_sends_nothing_where_nothing_is_set(self, postern):
        postern.settings["imap_id_send"] = ""
        postern.start()
        with Imap(postern.port) as client:
            assert client.command("ID NIL")[0] == "* ID NIL"

    def test_is_kept_for_the_passdb(self, postern, user):
        """imap_id_retain: %{client_id} of the passdb."""
        name, password = user()
        other = postern.passdbs["users"]
        for retain in ("yes", "no"):
            postern.settings["imap_id_retain"] = retain
            other["password_query"] = re.sub(r" AND .*", "", other["password_query"]) + " AND '%{client_id}' LIKE '%%Retained%%'"
            if postern.running():
                postern.write_configuration()
                assert postern.ctl("reload").code == 0
            else:
                postern.start()

            def attempt():
                with Imap(postern.port, timeout=30) as client:
                    client.command('ID ("name" "First")')
                    client.command('ID ("name" "Retained" "x-private" "1")')
                    return client.login(name, password).startswith("OK ")
            wait_for(f"imap_id_retain = {retain}", lambda: attempt() == (retain == "yes"), 20, 0.5)

    def test_of_a_trusted_hop_names_the_client(self, postern, user, backend):
        name, password = user()
        postern.settings |= {"login_trusted_networks": "127.0.0.1", "imap_id_log": "*",
                             "login_log_format_elements": "user=<%u> rip=%r rport=%b lip=%l lport=%a real=%{real_rip} name=%{local_name} session=<%{session}>"}
        postern.start()
        with Imap(postern.port) as client:
            client.command('ID ("x-originating-ip" "192.0.2.33" "x-originating-port" "4711" "x-connected-ip" "192.0.2.1" '
                           '"x-connected-port" "993" "x-connected-name" "mail.example.org" "x-client-transport" "TLS" '
                           '"x-session-id" "hop-session-1" "x-proxy-ttl" "4")')
            assert client.login(name, password).startswith("OK ")
        postern.wait_log(rf"Started proxying .*user=<{name}>, rip=192\.0\.2\.33, rport=4711, lip=192\.0\.2\.1, lport=993, real=127\.0\.0\.1, "
                         r"name=mail\.example\.org, session=<hop-session-1>")
        told = wait_for("what the backend was told", lambda: next((line for line in backend.log_text().splitlines()
                                                                 if "ID sent" in line and "hop-session-1" in line), None))
        for pair in ("x-originating-ip=192.0.2.33", "x-originating-port=4711", "x-connected-ip=192.0.2.1", "x-connected-port=993",
                     "x-connected-name=mail.example.org", "x-client-transport=TLS", "x-proxy-ttl=3", "x-session-id=hop-session-1"):
            assert pair in told, (pair, told)


def test_a_hash_of_a_wrong_password_is_logged_and_never_the_password(postern, user):
    name, _ = user()
    postern.settings |= {"auth_verbose": "yes", "auth_verbose_passwords": "sha1:8"}
    wrong = f"wrong-{os.urandom(6).hex()}"
    postern.passwords.add(wrong)
    postern.start()
    with Imap(postern.port) as client:
        assert "AUTHENTICATIONFAILED" in client.login(name, wrong)
    postern.wait_log(rf"auth: Info: users\({name},127\.0\.0\.1,<[^>]+>\): Password mismatch \(SHA1 of given password: "
                     + hashlib.sha1(wrong.encode()).hexdigest()[:8] + r"\)$")
    postern.settings["auth_verbose_passwords"] = "plain"
    assert postern.check_configuration().code == 78
