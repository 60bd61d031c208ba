"""postern.conf, as `postern -t`, -n and -a see it."""
import pytest

from harness.imap import Imap
from harness.postern import ROOT


def line_of(postern, text):
    return postern.conf.read_text().splitlines().index(text) + 1


def test_a_good_file_passes(postern):
    done = postern.check_configuration()
    assert done.code == 0, done.out + done.err


def test_the_file_that_is_installed_first_passes_and_says_what_is_missing(postern):
    """On its own: with the accounts of this host, and without a word of the tests'."""
    users = {name: text for name, text in postern.settings.items()
             if name.startswith("default_") and "user" in name or name == "libexec_dir"}
    postern.write_configuration = lambda: postern.conf.write_text(
        "".join(f"{name} = {text}\n" for name, text in users.items()) + "default_internal_group =\n"
        f"include = {ROOT}/data/postern.conf\n"
        + "".join(f"[service {name}]\nuser = {text['user']}\n" for name, text in postern.services.items()))
    done = postern.check_configuration()
    assert done.code == 0 and "no [passdb NAME]" in done.out + done.err, done.out + done.err


def test_all_errors_are_told_at_once_with_file_line_and_a_hint(postern):
    postern.settings |= {"auth_mechanism": "plain", "auth_failure_delay": "2 parsecs", "ssl": "perhaps"}
    postern.extra = "\n[servise imap-login]\nclient_limit = 1\n\n[unix_listener auth x]\nmode = many\n"
    done = postern.check_configuration()
    said = done.out + done.err
    assert done.code == 78, said
    for wrong in ("auth_mechanism = plain", "auth_failure_delay = 2 parsecs", "ssl = perhaps", "[servise imap-login]",
                  "mode = many"):
        assert f"{postern.conf}:{line_of(postern, wrong)}: " in said, (wrong, said)
    assert "auth_mechanisms" in said  # did you mean


def test_nothing_listens_before_every_setting_is_checked(postern):
    import socket
    postern.settings["auth_failure_delay"] = "never"
    postern.start(ready=False)
    assert postern.wait() == 78
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", postern.port)) != 0
    assert f"{postern.conf}:" in postern.output()
    postern._child = None


def test_listeners_on_the_same_port_are_refused(postern):
    postern.tls_port = postern.port
    done = postern.check_configuration()
    assert done.code == 78 and str(postern.port) in done.out + done.err


def test_an_unreadable_file_is_named(postern):
    postern.settings["ssl_cert"] = "</nonexistent/cert.pem"
    done = postern.check_configuration()
    assert done.code == 78 and "/nonexistent/cert.pem" in done.out + done.err


def test_a_key_that_does_not_fit_the_certificate_is_named(postern, authority):
    other = authority.issue("other", ["localhost"])
    postern.settings["ssl_key"] = f"<{other.key}"
    done = postern.check_configuration()
    assert done.code == 78, done.out + done.err


def test_a_missing_configuration_is_one_clear_line(postern):
    postern.write_configuration()
    postern.conf.rename(postern.directory / "elsewhere")
    done = postern.ctl("who")
    assert done.code in (75, 78) and str(postern.conf) in done.err
    (postern.directory / "elsewhere").rename(postern.conf)


def test_long_queries_semicolons_hashes_and_quotes_survive(postern, user):
    name, password = user()
    query = postern.passdbs["users"]["password_query"]
    long = "".join(f" ;{i} # = [x]" for i in range(2000))
    postern.passdbs["users"]["password_query"] = (
        query + f" AND 'a;b # c \" [d]' <> ' ;x' AND 'ü' <> '' AND length('{long}') = {len(long)}")
    assert len(postern.passdbs["users"]["password_query"]) > 20000
    postern.start()
    with Imap(postern.port) as client:
        assert client.login(name, password).startswith("OK ")


def test_n_prints_what_differs_and_hides_secrets(postern):
    postern.passdbs["fixed"] = {"driver": "static", "password": "hidden-pw-42"}
    postern.passwords.add("hidden-pw-42")
    done = postern.check_configuration("-n")
    assert done.code == 0, done.err
    assert f"port = {postern.port}" in done.out and "[passdb users]" in done.out
    assert "hidden-pw-42" not in done.out
    assert "login_greeting" not in done.out


def test_n_reads_back_the_same(postern):
    first = postern.check_configuration("-n")
    assert "connect = <hidden>" in first.out
    whole = first.out.replace("connect = <hidden>", f"connect = {postern.database}")
    postern.configuration = lambda: whole
    second = postern.check_configuration("-n")
    strip = [line for line in first.out.splitlines() if not line.startswith("#")]
    assert second.code == 0, second.err
    assert [line for line in second.out.splitlines() if not line.startswith("#")] == strip


def test_a_prints_the_defaults_too(postern):
    done = postern.check_configuration("-a")
    assert done.code == 0 and "login_greeting = Postern ready." in done.out


def test_other_files_are_included(postern, user):
    name, password = user()
    (postern.directory / "conf.d").mkdir()
    (postern.directory / "conf.d/10-greeting.conf").write_text("login_greeting = From another file.\n")
    postern.settings = {"include": "conf.d/*.conf"} | postern.settings
    postern.start()
    with Imap(postern.port) as client:
        assert client.greeting.endswith("From another file.")


@pytest.mark.parametrize("head,source,expected", [
    ("remote 127.0.0.3", "127.0.0.3", "For you."), ("remote 127.0.0.3", "127.0.0.4", "Postern ready."),
    ("local 127.0.0.0/8", "127.0.0.4", "For you."), ("protocol imap", "127.0.0.4", "For you.")])
def test_filters_choose_by_protocol_and_address(postern, head, source, expected):
    postern.extra = f"\n[{head}]\nlogin_greeting = For you.\n"
    postern.start()
    with Imap(postern.port, source=(source, 0)) as client:
        assert client.greeting.endswith(expected)


@pytest.mark.parametrize("example", ["one-backend", "sqlite", "master-user"])
def test_the_examples_of_the_documentation_are_right(postern, server_pair, example):
    import pathlib
    text = (pathlib.Path(__file__).parents[2] / f"doc/examples/{example}.conf").read_text()
    text = text.replace("/etc/ssl/certs/mail.pem", str(server_pair.cert))
    text = text.replace("/etc/ssl/private/mail.key", str(server_pair.key))
    users = "".join(f"{key} = {postern.settings[key]}\n" for key in
                    ("default_internal_user", "default_internal_group", "default_login_user") if key in postern.settings)
    users += f"libexec_dir = {postern.settings['libexec_dir']}\n"  # nothing need be installed
    sections = "".join(f"\n[service {name}]\nuser = {keys['user']}\n" for name, keys in postern.services.items())
    postern.configuration = lambda: users + text + sections
    done = postern.check_configuration()
    assert done.code == 0, done.out + done.err
