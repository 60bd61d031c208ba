"""Who the processes are and what they may do."""
import crypt
import os
import pathlib
import pwd
import re
import subprocess

import pytest

from harness.imap import Imap
from harness.postern import build_tree, environment, installed

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def status(pid):
    rows = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (row.partition(":") for row in rows)}


@root_only
def test_no_process_but_the_master_is_root_or_can_become_it_T_PRIV_01(postern):
    postern.start()
    login = pwd.getpwnam(postern.settings["default_login_user"]).pw_uid
    for name in ("imap-login", "auth", "anvil", "log"):
        for pid in postern.pids(name):
            seen = status(pid)
            uids = set(seen["Uid"].split())
            assert "0" not in uids, (name, uids)
            assert seen["NoNewPrivs"] == "1", name
            assert int(seen["CapEff"], 16) == 0 and int(seen["CapPrm"], 16) == 0, (name, seen["CapEff"])
            assert int(seen["CapBnd"], 16) == 0, (name, seen["CapBnd"])
            if name == "imap-login":
                assert uids == {str(login)}


@root_only
def test_login_processes_are_confined_to_an_empty_directory_T_PRIV_01(postern):
    postern.start()
    with Imap(postern.port):
        for name in ("imap-login", "anvil"):
            for pid in postern.pids(name):
                where = os.readlink(f"/proc/{pid}/root")
                assert where != "/", name
                if name == "imap-login":
                    assert where == str(postern.run / "empty") or not os.listdir(where), where


@root_only
def test_login_and_auth_processes_cannot_be_dumped_T_PRIV_01(postern):
    """The files in /proc of a process that is not dumpable belong to root. A sanitizer's leak check has to trace its own
    process, so that build stays dumpable and only its core limit is looked at."""
    postern.start()
    sanitized = b"__asan_init" in (build_tree() / "src/imap-login/imap-login").read_bytes()
    for name in ("imap-login", "auth"):
        for pid in postern.pids(name):
            assert sanitized or os.stat(f"/proc/{pid}/environ").st_uid == 0, name
            with open(f"/proc/{pid}/limits") as limits:
                core = next(line for line in limits if line.startswith("Max core file size"))
            assert core.split()[4] == "0", core


@root_only
def test_as_an_ordinary_user_everything_works_and_it_is_said_what_is_off_T_PRIV_05(make_postern, directory, backend,
                                                                                 session_directory):
    postern = make_postern()
    nobody = pwd.getpwnam("nobody")
    backend.add_user("plain-user", "pw-plain-user-1")
    postern.add_user("plain-user", "pw-plain-user-1", proxy="y", host="127.0.0.1", port=backend.port)
    for key in ("default_internal_user", "default_internal_group", "default_login_user"):
        postern.settings.pop(key)
    postern.services.clear()
    pair = session_directory / "certificates"
    key = directory / "readable.key"
    key.write_bytes((pair / "server.key").read_bytes())
    key.chmod(0o644)
    postern.settings["ssl_key"] = f"<{key}"
    postern.write_configuration()
    os.chown(postern.directory, nobody.pw_uid, nobody.pw_gid)
    from harness.procs import Child, wait_for
    postern._child = Child([build_tree() / "src/master/postern", "-F", "-c", postern.conf], directory / "p0/output",
                           user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], env=environment())
    wait_for("the greeting", postern._greets, 30)
    with Imap(postern.port) as client:
        assert client.login("plain-user", "pw-plain-user-1").startswith("OK ")
    said = [line for line in postern.everything_logged().splitlines() if "root" in line]
    assert len(said) == 1, said


@root_only
@pytest.mark.parametrize("security", ["plain", "tls"])
def test_passwords_are_gone_from_memory_once_relaying_T_LOC_03(postern, user, tls, security):
    """The database holds a hash: SQLite keeps the pages it read, and would keep a password that stands in them."""
    name, password = user()
    postern.add_user(name, password, crypt.crypt(password, crypt.mksalt(crypt.METHOD_SHA512, rounds=1000)), proxy="y",
                     host="127.0.0.1", port=user.backend_port)
    postern.start()
    client = Imap(postern.tls_port, tls) if security == "tls" else Imap(postern.port)
    with client:
        assert client.login(name, password).startswith("OK ")
        client.command("NOOP")
        for program in ("imap-login", "auth"):
            for pid in postern.pids(program):
                assert password.encode() not in memory_of(pid), program


def memory_of(pid):
    """All writable memory of a process that is there: a sanitizer reserves terabytes and touches little."""
    found, page = bytearray(), os.sysconf("SC_PAGE_SIZE")
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory, \
            open(f"/proc/{pid}/pagemap", "rb") as pages:
        for line in maps:
            where, mode, *_ = line.split()
            start, end = (int(part, 16) for part in where.split("-"))
            if not mode.startswith("rw") or end - start > 1 << 36:
                continue
            for block in range(start, end, page << 16):
                pages.seek(block // page * 8)
                entries = memoryview(pages.read(8 * min(1 << 16, (end - block) // page))).cast("Q")
                if not any(entries):
                    continue
                for index, entry in enumerate(entries):
                    if entry >> 62:  # present or swapped
                        memory.seek(block + index * page)
                        found += memory.read(page)
    return bytes(found)


@pytest.mark.parametrize("name", ["imap-login", "auth", "anvil", "log"])
def test_no_secret_in_arguments_or_environment_T_LOC_03(postern, user, name):
    user_name, password = user()
    postern.start()
    with Imap(postern.port) as client:
        client.login(user_name, password)
        for pid in postern.pids(name):
            try:
                for kind in ("cmdline", "environ"):
                    text = pathlib.Path(f"/proc/{pid}/{kind}").read_bytes()
                    assert password.encode() not in text and b"BEGIN" not in text
            except PermissionError:
                pytest.skip("cannot look without root")


def test_binaries_are_hardened_T_PRIV_06():
    for name in ("master/postern", "imap-login/imap-login", "auth/auth", "log/log", "anvil/anvil", "ctl/posternctl"):
        path = build_tree() / "src" / name
        header = subprocess.run(["readelf", "-hldW", path], capture_output=True, text=True).stdout
        assert "DYN " in header, name
        assert "GNU_RELRO" in header and "BIND_NOW" in header or "NOW" in header, name
        stack = next(line for line in header.splitlines() if "GNU_STACK" in line)
        assert "RWE" not in stack, name


@pytest.mark.skipif(not installed("systemd-analyze"), reason="no systemd-analyze")
def test_the_unit_file_scores_below_3_T_PRIV_07(directory):
    unit = directory / "postern.service"
    unit.write_text((build_tree() / "data/postern.service").read_text())
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
                          capture_output=True, text=True, timeout=60)
    score = float(re.search(r"exposure level for postern.service: ([\d.]+)", done.stdout).group(1))
    assert score < 3.0, done.stdout
