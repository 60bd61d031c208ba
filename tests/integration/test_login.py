"""What a login may look like, and what is said to those that fail."""
import base64
import re

import pytest

from harness.imap import Imap

FAILED = "NO [AUTHENTICATIONFAILED] Authentication failed."


def plain(user, password, authorize=""):
    return base64.b64encode(f"{authorize}\0{user}\0{password}".encode()).decode()


class TestAccepted:
    def test_login_with_quoted_strings(self, postern, user):
        name, password = user()
        postern.start()
        with Imap(postern.port) as client:
            reply = client.login(f'"{name}"', password)
            assert reply.startswith("OK [CAPABILITY IMAP4rev1") and reply.endswith("Logged in"), reply

    def test_login_with_synchronising_literals(self, postern, user):
        name, password = user()
        postern.start()
        with Imap(postern.port) as client:
            client.send(f"a LOGIN {{{len(name)}}}\r\n")
            assert client.line().startswith("+ ")
            client.send(f"{name} {{{len(password)}}}\r\n")
            assert client.line().startswith("+ ")
            client.send(password + "\r\n")
            assert client.answer("a")[-1].startswith("a OK ")

    def test_login_with_literals_that_do_not_wait(self, postern, user):
        name, password = user()
        postern.start()
        with Imap(postern.port) as client:
            client.send(f"a LOGIN {{{len(name)}+}}\r\n{name} {{{len(password)}+}}\r\n{password}\r\n")
            assert client.answer("a")[-1].startswith("a OK ")

    def test_authenticate_plain_with_an_initial_response(self, postern, user):
        name, password = user()
        postern.start()
        with Imap(postern.port) as client:
            assert " OK " in client.command(f"AUTHENTICATE PLAIN {plain(name, password)}")[-1]

    def test_authenticate_plain_after_the_challenge(self, postern, user):
        name, password = user()
        postern.start()
        with Imap(postern.port) as client:
            client.send("a AUTHENTICATE PLAIN\r\n")
            assert client.line() == "+ "
            client.send(plain(name, password) + "\r\n")
            assert client.answer("a")[-1].startswith("a OK ")

    def test_authenticate_login_asks_for_name_and_password(self, postern, user):
        name, password = user()
        postern.start()
        with Imap(postern.port) as client:
            client.send("a AUTHENTICATE LOGIN\r\n")
            assert base64.b64decode(client.line()[2:]) == b"Username:"
            client.send(base64.b64encode(name.encode()) + b"\r\n")
            assert base64.b64decode(client.line()[2:]) == b"Password:"
            client.send(base64.b64encode(password.encode()) + b"\r\n")
            assert client.answer("a")[-1].startswith("a OK ")

    def test_user_names_are_the_same_in_upper_case(self, postern, user):
        name, password = user()
        postern.start()
        with Imap(postern.port) as client:
            assert client.login(name.upper(), password).startswith("OK ")

    def test_a_second_attempt_on_the_same_connection(self, postern, user):
        name, password = user()
        postern.start()
        with Imap(postern.port) as client:
            assert client.login(name, "first-wrong") == FAILED
            assert client.login(name, password).startswith("OK ")

    @pytest.mark.parametrize("way", ["LOGIN", "AUTHENTICATE"])
    def test_commands_pipelined_behind_the_login_reach_the_backend_once_T_USR_01(self, postern, user, way):
        name, password = user()
        postern.start()
        login = f"LOGIN {name} {password}" if way == "LOGIN" else f"AUTHENTICATE PLAIN {plain(name, password)}"
        with Imap(postern.port) as client:
            client.send(f"a {login}\r\nb CREATE piped\r\nc LIST \"\" piped\r\nd LOGOUT\r\n")
            text = "\n".join(client.answer("d"))
            assert re.search(r"^a OK .*^b OK .*piped.*^c OK .*^d OK ", text, re.M | re.S), text
            assert client.at_end()

    @pytest.mark.parametrize("scheme", ["PLAIN", "SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "SSHA256", "SSHA512",
                                        "ARGON2ID"])
    def test_passwords_stored_as(self, postern, user, backend, scheme):
        password = "kw-scheme-1"
        user("scheme-user", password)
        postern.add_user("scheme-user", password, make_stored(scheme, password), proxy="y", host="127.0.0.1",
                         port=backend.port)
        postern.start()
        with Imap(postern.port) as client:
            assert client.login("scheme-user", "kw-scheme-2") == FAILED
            assert client.login("scheme-user", password).startswith("OK ")


def make_stored(scheme, password):
    """A stored password, made by other programs than Postern."""
    import crypt
    import hashlib
    import subprocess
    methods = {"SHA512-CRYPT": crypt.METHOD_SHA512, "SHA256-CRYPT": crypt.METHOD_SHA256, "BLF-CRYPT": crypt.METHOD_BLOWFISH}
    if scheme in methods:
        options = {"rounds": 16 if scheme == "BLF-CRYPT" else 5000}
        return f"{{{scheme}}}" + crypt.crypt(password, crypt.mksalt(methods[scheme], **options))
    if scheme.startswith("SSHA"):
        digest = hashlib.new("sha" + scheme[4:], password.encode() + b"8bytes!!").digest()
        return f"{{{scheme}}}" + base64.b64encode(digest + b"8bytes!!").decode()
    if scheme == "ARGON2ID":
        done = subprocess.run(["doveadm", "pw", "-s", "ARGON2ID", "-p", password], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip("nothing here makes ARGON2ID hashes")
        return done.stdout.strip()
    return f"{{{scheme}}}{password}"


class TestRefused:
    def test_wrong_password(self, postern, user):
        name, _ = user()
        postern.start()
        with Imap(postern.port) as client:
            assert client.login(name, "wrong-1") == FAILED
            assert " NO [AUTHENTICATIONFAILED] Authentication failed." in client.command(
                f"AUTHENTICATE PLAIN {plain(name, 'wrong-2')}")[-1]

    def test_unknown_user_reads_the_same_as_a_wrong_password(self, postern):
        postern.start()
        with Imap(postern.port) as client:
            assert client.login("nobody-knows-me", "wrong-1") == FAILED

    def test_failures_are_held_back(self, postern):
        import time
        postern.settings["auth_failure_delay"] = "1 secs"
        postern.start()
        with Imap(postern.port) as client:
            begun = time.monotonic()
            assert client.login("nobody-knows-me", "wrong-1") == FAILED
            assert 0.8 < time.monotonic() - begun < 4

    def test_disabled_login_says_so(self, postern, user):
        name, password = user(nologin="y", proxy=None, host=None, port=None)
        postern.start()
        with Imap(postern.port) as client:
            assert client.login(name, password) == "NO [CONTACTADMIN] Login disabled for this user"

    def test_unknown_mechanism(self, postern):
        postern.start()
        with Imap(postern.port) as client:
            assert client.command("AUTHENTICATE FOOBAR")[-1].endswith(
                "NO [ALERT] Unsupported authentication mechanism.")

    def test_bad_base64_fails_that_attempt_only_T_NET_18(self, postern, user):
        name, password = user()
        postern.start()
        with Imap(postern.port) as bad, Imap(postern.port) as good:
            assert " OK" not in bad.command("AUTHENTICATE PLAIN AGFs*aWNl")[-1]
            assert good.login(name, password).startswith("OK ")
            assert bad.login(name, password).startswith("OK ")

    def test_cancelled_authentication(self, postern):
        postern.start()
        with Imap(postern.port) as client:
            client.send("a AUTHENTICATE PLAIN\r\n")
            assert client.line() == "+ "
            client.send("*\r\n")
            assert client.line() == "a BAD Authentication aborted by client."

    def test_plaintext_passwords_from_another_address_T_TLS_06(self, postern, user, tls):
        name, password = user()
        postern.start()
        with Imap(postern.port, source=("127.0.0.2", 0)) as client:
            assert "LOGINDISABLED" in client.greeting and "AUTH=PLAIN" not in client.greeting
            assert client.login(name, password).startswith("NO [PRIVACYREQUIRED] ")
            assert "NO [PRIVACYREQUIRED] " in client.command(f"AUTHENTICATE PLAIN {plain(name, password)}")[-1]
            client.starttls(tls)
            assert client.login(name, password).startswith("OK ")

    def test_plaintext_passwords_are_taken_where_the_settings_say_so(self, postern, user):
        name, password = user()
        postern.settings["disable_plaintext_auth"] = "no"
        postern.start()
        with Imap(postern.port, source=("127.0.0.2", 0)) as client:
            assert client.login(name, password).startswith("OK ")

    def test_quoting_in_names_does_not_reach_the_database_T_DAT_03(self, postern, user):
        user()
        postern.settings |= {"auth_username_chars": "", "disable_plaintext_auth": "no"}
        postern.start()
        for number, name in enumerate(("x' OR '1'='1", "x'; DROP TABLE users; --", "%u", "${user}")):
            with Imap(postern.port, source=(f"127.0.1.{number + 1}", 0)) as client:  # each without the others' penalty
                assert " NO [AUTHENTICATIONFAILED] " in client.command(f"AUTHENTICATE PLAIN {plain(name, 'x')}")[-1]
        name, password = user()
        with Imap(postern.port) as client:
            assert client.login(name, password).startswith("OK ")


class TestSeveralPassdbs:
    def test_the_next_one_is_asked_for_who_is_not_in_the_first(self, postern, user, backend):
        name, password = user()
        backend.add_user("fromfile", "pw-in-the-file")
        postern.passwords.add("pw-in-the-file")
        path = postern.directory / "passwd"
        path.write_text(f"fromfile:{{PLAIN}}pw-in-the-file::::::proxy=y host=127.0.0.1 port={backend.port}\n")
        path.chmod(0o644)
        postern.passdbs["second"] = {"driver": "passwd-file", "passwd_file_path": str(path)}
        postern.start()
        for who, word in ((name, password), ("fromfile", "pw-in-the-file")):
            with Imap(postern.port) as client:
                assert client.login(who, word).startswith("OK ")

    def test_a_static_one_sends_everybody_to_the_backend_to_decide(self, postern, backend):
        backend.add_user("static-user", "pw-only-there")
        postern.passwords.add("pw-only-there")
        postern.passdbs = {"all": {"driver": "static",
                                   "fields": f"nopassword=y proxy=y host=127.0.0.1 port={backend.port}"}}
        postern.start()
        with Imap(postern.port) as client:
            assert client.login("static-user", "not-this") == FAILED
            assert client.login("static-user", "pw-only-there").startswith("OK ")

    def test_a_missing_database_is_a_temporary_failure_and_not_a_wrong_password(self, postern, user):
        name, password = user()
        postern.start()
        postern.database.rename(postern.directory / "moved.db")
        for pid in postern.pids("auth"):
            import os
            import signal
            postern.may_die = True
            os.kill(pid, signal.SIGKILL)
        with Imap(postern.port, timeout=40) as client:
            reply = client.login(name, password)
            assert reply.startswith("NO [UNAVAILABLE] "), reply
        (postern.directory / "moved.db").rename(postern.database)
        with Imap(postern.port, timeout=40) as client:
            assert client.login(name, password).startswith("OK ")

    def test_a_slow_hash_delays_nobody_else_T_NET_08(self, postern, user):
        import crypt
        import threading
        import time
        name, password = user()
        slow = "{BLF-CRYPT}" + crypt.crypt("x", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=2 ** 12))
        postern.add_user("slow", "never-right-" + "x" * 8, slow, proxy="y", host="127.0.0.1", port="1")
        postern.start()

        def guess():
            with Imap(postern.port, timeout=120) as client:
                client.login("slow", "guess")
        guessers = [threading.Thread(target=guess) for _ in range(16)]
        begun = time.monotonic()
        for guesser in guessers:
            guesser.start()
        time.sleep(0.3)
        with Imap(postern.port) as client:
            assert client.login(name, password).startswith("OK ")
        good = time.monotonic() - begun
        for guesser in guessers:
            guesser.join()
        assert good < 0.6 * (time.monotonic() - begun)
