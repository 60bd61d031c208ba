"""posternctl: each command as a table, and as JSON that parses."""
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from harness.imap import Imap
from harness.postern import ROOT, build_tree, environment
from harness.procs import wait_for


@pytest.fixture
def session(postern, user):
    """A running instance with one proxied session: (instance, client, name, password)."""
    name, password = user()
    postern.start()
    with Imap(postern.port) as client:
        assert client.login(name, password).startswith("OK ")
        yield postern, client, name, password


def values(rows):
    return {str(value) for row in rows for value in row.values()}


class TestWho:
    def test_lists_the_session_as_a_table(self, session):
        postern, _, name, _ = session
        done = postern.ctl("who")
        assert done.code == 0, done.err
        heading, *rows = done.out.splitlines()
        assert heading.split()[0] == "username" and "proto" in heading
        row = next(line for line in rows if name in line)
        assert "imap" in row and "127.0.0.1" in row

    def test_lists_the_session_as_json(self, session):
        postern, _, name, _ = session
        done = postern.ctl("who", form="json")
        assert done.code == 0, done.err
        rows = done.json()
        assert any(row.get("username") == name for row in rows), rows

    def test_takes_a_mask_for_the_user(self, session):
        postern, _, name, _ = session
        assert name in postern.ctl("who", name[:2] + "*").out
        assert name not in postern.ctl("who", "somebody-else*").out

    def test_gives_correct_json_when_nobody_is_there(self, postern):
        postern.start()
        assert postern.ctl("who", form="json").json() == []

    def test_gives_a_heading_and_nothing_else_when_nobody_is_there(self, postern):
        postern.start()
        done = postern.ctl("who")
        assert done.code == 0 and len(done.out.splitlines()) <= 1


class TestProxyList:
    def test_shows_the_backend_as_a_table(self, session):
        postern, _, name, _ = session
        done = postern.ctl("proxy", "list")
        assert done.code == 0, done.err
        assert done.out.count("username") == 1
        assert any(name in line and "127.0.0.1" in line for line in done.out.splitlines()[1:])

    def test_shows_the_backend_as_json(self, session, backend):
        postern, _, name, _ = session
        rows = postern.ctl("proxy", "list", form="json").json()
        assert len(rows) == 1 and rows[0]["username"] == name
        assert str(backend.port) in values(rows)

    def test_leaves_out_who_has_not_logged_in(self, postern):
        postern.start()
        with Imap(postern.port):
            assert postern.ctl("proxy", "list", form="json").json() == []


class TestKick:
    def test_ends_the_users_sessions_and_counts_them(self, session):
        postern, client, name, _ = session
        done = postern.ctl("kick", name)
        assert done.code == 0, done.err
        assert "1" in done.out or name in done.out
        wait_for("the end of the session", client.at_end)
        postern.wait_log(r"Disconnected by proxy: Kicked by admin")
        assert postern.ctl("who", form="json").json() == []

    def test_leaves_others_alone_T_CTL_02(self, session, user):
        postern, client, _, _ = session
        other, password = user()
        with Imap(postern.port) as bystander:
            assert bystander.login(other, password).startswith("OK ")
            assert postern.ctl("kick", other).code == 0
            assert bystander.at_end()
        assert " OK " in client.command("NOOP")[-1]

    def test_says_68_when_there_is_nobody_to_kick(self, session):
        postern, client, _, _ = session
        done = postern.ctl("kick", "somebody-else")
        assert done.code == 68, (done.code, done.out, done.err)
        assert " OK " in client.command("NOOP")[-1]

    def test_an_empty_mask_is_refused_T_CTL_02(self, session):
        postern, client, _, _ = session
        assert postern.ctl("kick", "").code != 0
        assert postern.ctl("kick").code == 2
        assert " OK " in client.command("NOOP")[-1]


class TestStatus:
    def test_process_status_names_every_process(self, session):
        postern = session[0]
        done = postern.ctl("process", "status")
        assert done.code == 0, done.err
        for name in ("imap-login", "auth", "anvil", "log"):
            assert any(line.startswith(name) for line in done.out.splitlines()), done.out

    def test_process_status_has_the_real_process_ids(self, session):
        postern = session[0]
        rows = postern.ctl("process", "status", form="json").json()
        for name in ("imap-login", "auth", "anvil", "log"):
            told = {int(row["pid"]) for row in rows if row["name"] == name}
            assert told and told <= set(postern.pids(name)), (name, told)

    def test_process_status_takes_the_name_of_a_service(self, session):
        rows = session[0].ctl("process", "status", "auth", form="json").json()
        assert rows and {row["name"] for row in rows} == {"auth"}

    def test_service_status(self, session):
        rows = session[0].ctl("service", "status", form="json").json()
        assert {"imap-login", "auth", "anvil", "log"} <= {row["name"] for row in rows}


class TestAuthTest:
    def test_a_right_password_succeeds_and_shows_the_fields(self, session):
        postern, _, name, password = session
        done = postern.ctl("auth", "test", name, password)
        assert done.code == 0, done.err
        assert f"passdb: {name} auth succeeded" in done.out and "proxy" in done.out

    def test_the_password_forwarded_to_the_backend_is_not_shown(self, session):
        postern, _, name, password = session
        done = postern.ctl("auth", "test", name, password)
        assert password not in done.out + done.err

    def test_a_wrong_password_is_exit_77(self, session):
        postern, _, name, _ = session
        done = postern.ctl("auth", "test", name, "wrong-1")
        assert done.code == 77 and f"passdb: {name} auth failed" in done.out + done.err, (done.code, done.out)

    def test_as_json(self, session):
        postern, _, name, password = session
        assert name in str(postern.ctl("auth", "test", name, password, form="json").json())

    def test_the_password_can_come_from_standard_input(self, session):
        postern, _, name, password = session
        done = subprocess.run([build_tree() / "src/ctl/posternctl", "-c", postern.conf, "auth", "test", name],
                              input=password + "\n", capture_output=True, text=True, timeout=30, env=environment())
        assert done.returncode == 0, done.stderr


class TestStop:
    def test_stops_everything(self, session):
        postern = session[0]
        done = postern.ctl("stop")
        assert done.code == 0, done.err
        assert postern.wait() == 0
        assert not (postern.run / "master.pid").exists()


class TestNothingRuns:
    @pytest.mark.parametrize("command", [["who"], ["proxy", "list"], ["kick", "u"], ["reload"], ["stop"],
                                         ["process", "status"], ["auth", "test", "u", "p"]])
    def test_one_clear_line_and_75(self, postern, command):
        postern.write_configuration()
        done = postern.ctl(*command)
        assert done.code == 75, (done.code, done.out, done.err)
        lines = done.err.strip().splitlines()
        assert len(lines) == 1 and "running" in lines[0], done.err
        assert not done.out.strip()


class TestUsage:
    @pytest.mark.parametrize("arguments", [["no-such-command"], ["-f", "no-such-format", "who"], []])
    def test_a_wrong_word_is_exit_2(self, postern, arguments):
        postern.write_configuration()
        done = postern.ctl(*arguments)
        assert done.code == 2 and done.err.strip(), (done.code, done.out, done.err)

    def test_the_control_socket_is_for_its_owner_T_CTL_01(self, postern):
        postern.start()
        control = postern.run / "control"
        assert (control.stat().st_mode & 0o777) == 0o600
        assert control.stat().st_uid == os.geteuid()

    def test_garbage_on_the_control_socket_ends_that_connection_only_T_CTL_03(self, postern):
        postern.start()
        for data in (b"\0\1\2\n", b"{}\n", b'{"command":"no-such"}\n', b"x" * 200000 + b"\n", b'{"command":'):
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(10)
                control.connect(str(postern.run / "control"))
                try:
                    control.sendall(data)
                    control.shutdown(socket.SHUT_WR)
                    while control.recv(4096):
                        pass
                except OSError:
                    pass
        assert postern.ctl("who", form="json").json() == []

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
    def test_others_get_77_and_one_line_T_CTL_01(self, postern):
        postern.start()
        nobody = pwd.getpwnam("nobody")
        for command in (["who"], ["stop"], ["kick", "u"], ["auth", "lookup", "u"]):
            done = subprocess.run([build_tree() / "src/ctl/posternctl", "-S", postern.run / "control", *command],
                                  capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                                  env=environment(), user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], cwd="/")
            assert done.returncode == 77, (command, done.returncode, done.stderr)
            assert len(done.stderr.strip().splitlines()) == 1 and "Permission denied" in done.stderr
        assert postern.running()


class TestWhenSomethingHangs:
    def test_the_sessions_of_the_other_processes_are_shown(self, postern, user):
        name, password = user()
        postern.service |= {"process_min_avail": "2", "process_limit": "2"}
        postern.start()
        wait_for("two processes", lambda: len(postern.pids("imap-login")) == 2)
        clients, owners = [], set()
        while len(owners) < 2:  # which process a session gets is the kernel's to say
            assert len(clients) < 200, "the kernel gave all sessions to one process"
            clients.append(Imap(postern.port))
            assert clients[-1].login(name, password).startswith("OK ")
            rows = postern.ctl("who", "-1", form="json").json()
            assert len(rows) == len(clients)
            owners = {int(row["pid"]) for row in rows}
        hung = owners.pop()
        os.kill(hung, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            done = postern.ctl("who", "-1", form="json")
            assert time.monotonic() - begun < 15
            assert done.code == 75 and "did not answer" in done.err, (done.code, done.err)
            assert {int(row["pid"]) for row in done.json()} == owners
        finally:
            os.kill(hung, signal.SIGCONT)
        assert len(postern.ctl("who", "-1", form="json").json()) == len(clients)
        for client in clients:
            client.close()

    def test_who_half_closes_like_a_shell_pipe_still_gets_the_answer(self, session):
        postern, _, name, _ = session
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(str(postern.run / "control"))
            control.sendall(b'{"command":"who","args":{}}\n')
            control.shutdown(socket.SHUT_WR)
            lines = [json.loads(line) for line in control.makefile("rb")]
        assert lines[-1] == {"end": {"code": 0, "text": ""}} and lines[0]["row"]["user"] == name, lines


class TestWhatIsWrittenAboutIt:
    """`--help`, the manual page and the completion name the same commands and options."""

    @staticmethod
    def help(*words):
        done = subprocess.run([build_tree() / "src/ctl/posternctl", *words, "--help"], capture_output=True, text=True,
                              timeout=30, env=environment())
        assert done.returncode == 0, done.stderr
        return done.stdout

    def names(self, text):
        return re.findall(r"^  ([a-z]+) +\S", text.partition("Subcommands:")[2], re.M)

    def commands(self):
        found = []
        for name in self.names(self.help()):
            below = self.names(self.help(name))
            found += [(name, word) for word in below] if below else [(name,)]
        assert len(found) >= 13
        return found

    def options(self, words):
        """Each with its other spellings."""
        text = self.help(*words).partition("Options:")[2]
        found = [re.match(r"  (-\S+)", line).group(1).split(",") for line in text.splitlines() if line.startswith("  -")]
        return [names for names in found if "--help" not in names]

    def test_the_manual_page_has_every_command_and_option(self):
        page = (ROOT / "doc/posternctl.1").read_text().replace("\\-", "-").partition(".SH COMMANDS")[2]
        for words in self.commands():
            name = " ".join(words)
            entry = re.search(rf'^\.TP\n\.BR? "?{name}(?=["\s]).*?(?=^\.TP|^\.SH)', page, re.M | re.S)
            assert entry, name
            for names in self.options(words) if name != "proxy kick" else []:  # "as kick"
                assert any(option in entry.group(0) for option in names), (name, names)

    @pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
    def test_the_completion_offers_every_command(self):
        def offered(*words):
            script = (f"source {ROOT}/data/posternctl.bash; COMP_WORDS=(posternctl {' '.join(words)} ''); "
                      f"COMP_CWORD={len(words) + 1}; _posternctl; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
            return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=10).stdout.split()
        commands = self.commands()
        assert {words[0] for words in commands} <= set(offered())
        for words in commands:
            if len(words) == 2:
                assert words[1] in offered(words[0]), words
