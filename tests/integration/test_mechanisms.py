"""SASL mechanisms, through Postern to a real mailbox: APOP of Postern's own auth, and every mechanism that a Debian
Dovecot offers as the auth server (auth_socket_path). What opens the backend is the passdb's `pass`, as only PLAIN and
LOGIN tell the password."""
import os
import re
import subprocess

import pytest

from harness import sasl
from harness.dovecot_auth import DovecotAuth
from harness.pop3 import Pop3
from harness.postern import Postern, installed
from harness.wires import PROTOCOLS, WIRES

FAILED = "-ERR [AUTH] Authentication failed."


@pytest.fixture
def gate(postern):
    postern.settings["protocols"] = "imap pop3"
    return postern


def secret():
    return f"pw-{os.urandom(8).hex()}"


def fetchmail(directory, *lines):
    """Runs fetchmail once; mail ends in directory/mail."""
    rc = directory / "fetchmailrc"
    rc.write_text("\n".join(lines) + f'\n  mda "/bin/sh -c \'cat >> {directory}/mail\'"\n')
    rc.chmod(0o600)
    return subprocess.run(["fetchmail", "-v", "--nosyslog", "--nodetach", "-d0", "-f", str(rc), "--pidfile", str(directory / "pid"), "-k"],
                          capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                          env={"HOME": str(directory), "FETCHMAILHOME": str(directory), "PATH": "/usr/bin:/bin"})


def curl(*arguments):
    return subprocess.run(["curl", "-sSv", "--max-time", "30", *[str(a) for a in arguments]], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL)


class TestApop:
    """Postern's own auth."""

    @pytest.fixture
    def gate(self, gate):
        gate.settings["auth_mechanisms"] = "plain apop"
        return gate

    @pytest.fixture
    def account(self, gate, backend, user):
        def add(stored=None, **fields):
            """A user with one password here and another at the backend: (name, password)."""
            name, theirs = user(port=backend.pop3_port)
            ours = secret()
            gate.passwords.add(theirs)
            gate.add_user(name, ours, stored, **{"proxy": "y", "host": "127.0.0.1", "port": backend.pop3_port,
                                                 "pass": theirs, **fields})
            return name, ours
        return add

    @staticmethod
    def apop(client, name, password):
        return client.command(f"APOP {name} {sasl.apop(client.greeting, password)}")

    def test_logs_in(self, gate, account):
        name, password = account()
        gate.start()
        with Pop3(gate.pop3_port) as client:
            assert re.fullmatch(r"\+OK Postern ready\. <[0-9a-f]+\.[0-9a-f]+\.[0-9a-f]+\.[\w+/]+=*@\S+>", client.greeting)
            assert "APOP" not in " ".join(client.listing("CAPA") + client.listing("AUTH"))
            assert self.apop(client, name, password) == "+OK Logged in."
            assert client.command("STAT") == "+OK 0 0"
        gate.wait_log(rf"pop3-login: Info: proxy\({name},.*Started proxying.*user=<{name}>, method=APOP, rip=127\.0\.0\.1, ")

    def test_fails_alike_whatever_is_wrong(self, gate, account):
        name, password = account()
        hashed, known = account(stored="{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=")
        open_to_all, _ = account(stored="", nopassword="y")
        gate.start()
        wrong = ((name, "wrong"), (hashed, known), (hashed, "password"), (open_to_all, ""), ("nobody-here", password))
        for number, (who, what) in enumerate(wrong):
            with Pop3(gate.pop3_port, source=(f"127.0.3.{number + 1}", 0)) as client:  # each without the others' penalty
                assert self.apop(client, who, what) == FAILED, who
        gate.wait_log(rf"auth: Info: users\({hashed},127\.0\.3\.2,<[^>]+>\): Requested PLAIN scheme, but we have only SHA256")
        gate.wait_log(rf"pop3-login: Info: Disconnected: Connection closed \(auth failed, 1 attempts in \d+ secs\): user=<{name}>, method=APOP, rip=127\.0\.3\.1, ")

    def test_is_worth_nothing_on_another_connection(self, gate, account):
        """Who overheard an APOP cannot send it again."""
        name, password = account()
        gate.start()
        with Pop3(gate.pop3_port) as first, Pop3(gate.pop3_port) as second:
            assert first.greeting != second.greeting
            overheard = f"APOP {name} {sasl.apop(first.greeting, password)}"
            assert second.command(overheard) == FAILED
            assert first.command(overheard) == "+OK Logged in."

    def test_needs_a_password_for_the_backend(self, gate, account):
        name, password = account(**{"pass": None})
        gate.start()
        with Pop3(gate.pop3_port) as client:
            assert self.apop(client, name, password) == "-ERR [SYS/TEMP] Account is temporarily unavailable."
        gate.wait_log(rf"pop3-login: Error: proxy\({name}\): password not given")

    def test_imap_neither_offers_nor_takes_it(self, gate, account):
        from harness.imap import Imap
        gate.start()
        with Imap(gate.port) as client:
            assert "APOP" not in client.greeting
            assert client.command("AUTHENTICATE APOP")[-1].endswith(" NO [ALERT] Unsupported authentication mechanism.")

    @pytest.mark.skipif(not installed("curl"), reason="no curl")
    def test_curl(self, gate, account):
        name, password = account()
        gate.start()
        done = curl("--login-options", "AUTH=+APOP", "-u", f"{name}:{password}", f"pop3://127.0.0.1:{gate.pop3_port}/")
        assert done.returncode == 0, done.stderr
        assert re.search(rf"^> APOP {name} [0-9a-f]{{32}}", done.stderr, re.M)
        assert "PASS" not in done.stderr

    @pytest.mark.skipif(not installed("fetchmail"), reason="no fetchmail")
    def test_fetchmail(self, gate, account, directory):
        name, password = account()
        gate.start()
        done = fetchmail(directory, f"poll 127.0.0.1 with proto APOP service {gate.pop3_port}",
                         f'  user "{name}" password "{password}" sslproto ""')
        assert done.returncode == 1, done.stdout + done.stderr  # no new mail
        assert f"> APOP {name} " in done.stdout and "PASS" not in done.stdout


class World:
    """A Postern whose auth server is a Dovecot, with the same users for each protocol: `name` and `other` log in, `denied` does
    not, `master` may do so on behalf of others."""
    PASSWORD, MASTERS, THEIRS = secret(), secret(), secret()

    def __init__(self, directory, backend, server_pair):
        self.dovecot = DovecotAuth(directory / "auth")
        self.postern = Postern(directory / "p", server_pair)
        self.postern.passwords |= {self.PASSWORD, self.MASTERS, self.THEIRS}
        self.postern.passdbs = {}
        self.postern.settings |= {"protocols": PROTOCOLS, "auth_socket_path": str(self.dovecot.socket)}
        users = [f"{kind}-{service}" for service in WIRES for kind in ("name", "other", "denied")]
        for user in users:
            service = user.partition("-")[2]
            self.dovecot.add_user(user, self.PASSWORD, proxy="y", host="127.0.0.1", port=WIRES[service].backend_port(backend), **{"pass": self.THEIRS})
            if user.startswith("denied"):
                self.dovecot.deny(user)
        self.dovecot.add_master("master", self.MASTERS)
        backend.add_users({user: self.THEIRS for user in users})
        backend.add_master("master", self.THEIRS)

    def start(self):
        self.dovecot.start()
        self.postern.start()
        return self

    def stop(self):
        complaints = self.postern.stop() + self.postern.complaints()
        self.dovecot.stop()
        return complaints


def made(path, backend, server_pair):
    path.mkdir(mode=0o755)
    return World(path, backend, server_pair)


@pytest.fixture(scope="module")
def world(session_directory, backend, server_pair):
    it = made(session_directory / "mechanisms", backend, server_pair).start()
    yield it
    complaints = it.stop()
    assert not complaints, complaints


@pytest.mark.parametrize("service", WIRES)
class TestDovecotsAuth:
    @pytest.mark.parametrize("mechanism", sasl.MECHANISMS)
    def test_every_mechanism_logs_in(self, world, tls, service, mechanism):
        wire, name = WIRES[service], f"name-{service}"
        with wire(world.postern, tls) as connection:
            assert mechanism in connection.offered()
            wrong = connection.authenticate(mechanism, sasl.client(mechanism, name, "not-it"))
            assert re.fullmatch(wire.refused["wrong"], wrong), wrong
            again = connection.authenticate(mechanism, sasl.client(mechanism, name, world.PASSWORD), initial=False)
            assert re.fullmatch(wire.good, again), again
            assert connection.works()
        with wire(world.postern) as connection:
            reply = connection.authenticate(mechanism.lower(), sasl.client(mechanism, name, world.PASSWORD))
            assert re.fullmatch(wire.good, reply), reply
        world.postern.wait_log(rf"{wire.program}: Info: proxy\({name},.*Started proxying.*user=<{name}>, method={mechanism}, .*, TLS, session")

    @pytest.mark.parametrize("mechanism", sasl.MECHANISMS)
    def test_a_cancelled_exchange_leaves_nothing_behind(self, world, service, mechanism):
        wire = WIRES[service]
        with wire(world.postern) as connection:
            connection.begin(mechanism)
            assert connection.challenge() is not None
            connection.cancel()
            assert connection.challenge() is None and re.fullmatch(wire.cancelled, connection.reply), connection.reply
            reply = connection.authenticate(mechanism, sasl.client(mechanism, f"name-{service}", world.PASSWORD))
            assert re.fullmatch(wire.good, reply), reply

    def test_who_leaves_in_the_middle_harms_nobody(self, world, service):
        """CVE-2019-11494, CVE-2017-15132."""
        wire = WIRES[service]
        for mechanism in sasl.MECHANISMS:
            with wire(world.postern, source=("127.0.2.1", 0)) as connection:
                if mechanism in ("PLAIN", "LOGIN"):
                    continue  # not without TLS from there
                connection.begin(mechanism)
                assert connection.challenge() is not None
        with wire(world.postern) as connection:
            reply = connection.authenticate("SCRAM-SHA-256", sasl.client("SCRAM-SHA-256", f"name-{service}", world.PASSWORD))
            assert re.fullmatch(wire.good, reply), reply
        world.postern.wait_log(rf"{wire.program}: Info: Disconnected: Connection closed {wire.unfinished}\(client didn't finish SASL auth, "
                               r"waited \d+ secs\): user=<>, method=CRAM-MD5, rip=127\.0\.2\.1, ")

    def test_a_denied_user_is_told_no_more_than_others(self, world, service):
        wire = WIRES[service]
        with wire(world.postern) as connection:
            reply = connection.authenticate("PLAIN", sasl.client("PLAIN", f"denied-{service}", world.PASSWORD))
            assert re.fullmatch(wire.refused["wrong"], reply), reply
        world.postern.wait_log(rf"{wire.program}: Info: Disconnected: Connection closed \(user disabled\): user=<denied-{service}>, method=PLAIN")

    def test_a_master_logs_in_as_a_user_and_only_as_one_there_is(self, world, service):
        wire = WIRES[service]
        for mechanism in ("PLAIN", "SCRAM-SHA-1"):
            with wire(world.postern) as connection:
                reply = connection.authenticate(mechanism, sasl.client(mechanism, "master", world.MASTERS, "nobody-here"))
                assert re.fullmatch(wire.refused["authz"], reply), reply
            world.postern.wait_log(rf"{wire.program}: Info: Disconnected: Connection closed \(authorization failed, "
                                   rf"1 attempts in \d+ secs\): user=<nobody-here>, method={mechanism}")
            with wire(world.postern) as connection:
                reply = connection.authenticate(mechanism, sasl.client(mechanism, "master", world.MASTERS, f"name-{service}"))
                # Dovecot 2.3 cannot do it with SCRAM.
                assert re.fullmatch(wire.good if mechanism == "PLAIN" else wire.refused["authz"], reply), reply

    def test_nobody_logs_in_as_another_without_being_a_master(self, world, service):
        wire = WIRES[service]
        for mechanism in ("PLAIN", "SCRAM-SHA-256"):
            with wire(world.postern) as connection:
                reply = connection.authenticate(mechanism, sasl.client(mechanism, f"name-{service}", world.PASSWORD, f"other-{service}"))
                assert re.fullmatch(wire.refused["wrong"], reply), reply

    def test_broken_answers_to_a_challenge_are_failures_CVE_2019_11499(self, world, tls, service):
        wire = WIRES[service]
        broken = (b"", b"\0", b"x" * 3000, b"n,,n=,r=", b"\xff\xfe", b"username=\"" + b"a" * 500)
        for number, garbage in enumerate(broken):
            with wire(world.postern, tls if number % 2 else None) as connection:
                for mechanism in ("CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-256"):
                    connection.begin(mechanism)
                    while connection.challenge() is not None:
                        connection.respond(garbage)
                    assert re.fullmatch(wire.refused["wrong"], connection.reply), (mechanism, garbage, connection.reply)
                reply = connection.authenticate("CRAM-MD5", sasl.client("CRAM-MD5", f"name-{service}", world.PASSWORD))
                assert re.fullmatch(wire.good, reply), reply


class TestClientsOfDovecotsAuth:
    URLS = {"imap": ("imap", "imaps"), "pop3": ("pop3", "pop3s")}

    @pytest.mark.skipif(not installed("curl"), reason="no curl")
    @pytest.mark.parametrize("service", URLS)
    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "+APOP"])  # Dovecot's DIGEST-MD5 curl does not take
    def test_curl(self, world, authority, service, mechanism):
        if mechanism == "+APOP" and service != "pop3":
            pytest.skip("APOP is POP3's")
        asking, name, password = world.postern, f"name-{service}", world.PASSWORD
        for scheme in self.URLS[service]:
            port = {"imap": asking.port, "imaps": asking.tls_port, "pop3": asking.pop3_port, "pop3s": asking.pop3s_port}[scheme]
            done = curl("--cacert", authority.cert, "--login-options", f"AUTH={mechanism}", "-u", f"{name}:{password}",
                        f"{scheme}://localhost:{port}/")
            assert done.returncode == 0, done.stderr
            assert re.search(rf"^> \S* ?(AUTHENTICATE|AUTH)? ?{mechanism.strip('+')}\b", done.stderr, re.M), done.stderr
            refused = curl("--cacert", authority.cert, "--login-options", f"AUTH={mechanism}", "-u", f"{name}:not-it",
                           f"{scheme}://localhost:{port}/")
            assert refused.returncode == 67, (refused.returncode, refused.stderr)  # curl's "login denied"
        asking.wait_log(rf"Started proxying.*user=<{name}>, method={mechanism.strip('+')}, .*, TLS, session")

    @pytest.mark.skipif(not installed("mbsync"), reason="no mbsync")
    @pytest.mark.parametrize("mechanism", ["PLAIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"])
    def test_mbsync(self, world, directory, mechanism):
        asking, name, password = world.postern, "name-imap", world.PASSWORD
        (directory / "near").mkdir()
        (directory / "mbsyncrc").write_text(f"""
IMAPAccount gate
Host localhost
Port {asking.port}
User {name}
Pass {password}
SSLType None
AuthMechs {mechanism}

IMAPStore far
Account gate

MaildirStore near
Path {directory}/near/
Inbox {directory}/near/INBOX

Channel all
Far :far:
Near :near:
Patterns INBOX
Create Both
SyncState *
""")
        done = subprocess.run(["mbsync", "-D", "-c", str(directory / "mbsyncrc"), "-a"], capture_output=True, text=True,
                              timeout=60, stdin=subprocess.DEVNULL, env={"HOME": str(directory), "PATH": "/usr/bin:/bin"})
        assert done.returncode == 0, done.stdout + done.stderr
        asking.wait_log(rf"Started proxying.*user=<{name}>, method={mechanism}, ")

    @pytest.mark.skipif(not installed("fetchmail"), reason="no fetchmail")
    def test_fetchmail_with_cram_md5(self, world, directory):
        asking, name, password = world.postern, "name-imap", world.PASSWORD
        done = fetchmail(directory, f"poll 127.0.0.1 with proto IMAP service {asking.port} auth cram-md5",
                         f'  user "{name}" password "{password}" sslproto ""')
        assert done.returncode == 1, done.stdout + done.stderr  # no new mail
        asking.wait_log(rf"Started proxying.*user=<{name}>, method=CRAM-MD5, ")

    def test_apop(self, world):
        asking, name, password = world.postern, "name-pop3", world.PASSWORD
        with Pop3(asking.pop3_port) as client:
            assert client.command(f"APOP {name} {sasl.apop(client.greeting, 'not-' + password)}") == FAILED
            assert client.command(f"APOP {name} {sasl.apop(client.greeting, password)}") == "+OK Logged in."
            assert client.command("STAT") == "+OK 0 0"


class TestAuthThatRestarts:
    @pytest.fixture
    def world(self, directory, backend, server_pair):
        it = made(directory / "restarting", backend, server_pair).start()
        yield it
        complaints = it.stop()
        assert not complaints, complaints

    def test_fails_what_is_under_way_as_temporary_and_goes_on_T_FAT_01(self, world):
        connections = {service: wire(world.postern) for service, wire in WIRES.items()}
        steps = {}
        for service, connection in connections.items():
            steps[service] = sasl.client("SCRAM-SHA-256", f"name-{service}", world.PASSWORD)
            connection.begin("SCRAM-SHA-256", next(steps[service]))
            assert steps[service].send(connection.challenge())  # and does not come to send it
        world.dovecot.stop()
        for service, connection in connections.items():
            world.postern.wait_log(rf"{connection.program}: Warning: auth-client: conn unix:.*: Auth connection closed with 1 pending requests")
            assert connection.challenge() is None
            assert re.fullmatch(connection.refused["temporary"], connection.reply), connection.reply
        world.dovecot.start()
        for service, connection in connections.items():
            with connection:
                # What waits for auth waits, and is not lost.
                reply = connection.authenticate("SCRAM-SHA-256", sasl.client("SCRAM-SHA-256", f"name-{service}", world.PASSWORD))
                assert re.fullmatch(connection.good, reply), reply
                assert connection.works()
