"""The recorded dialogues of Dovecot's proxy with backends, played to a whole Postern by a scripted client and a scripted backend: what both
get and what is logged is as recorded, but for tests/transcripts/differences.txt."""
import collections
import concurrent.futures
import re

import pytest

from harness.proxy_replay import Certificates, compare, serve
from harness.recorded import TRANSCRIPTS, Differences
from harness.recorded_proxy import ProxyTranscript

# Played one after another, each to a Postern of its own: a failed login makes later ones from the same address wait.
ALONE = re.compile(r"password-crlf|host-name-nx|hostip-invalid|delay-until-too-far")
AT_ONCE = 12


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("recorded-backends"))


def names():
    return sorted(path.name for path in TRANSCRIPTS.glob("proxy-*.txt"))


def by_configuration():
    out, differences = collections.defaultdict(list), Differences()
    for name in names():
        if differences.left_out(name) is None:
            recorded = ProxyTranscript(TRANSCRIPTS / name)
            out[str(sorted(recorded.settings.items())), ALONE.search(name) and name].append(recorded)
    return list(out.values())


@pytest.mark.parametrize("recordings", by_configuration(), ids=lambda group: group[0].name[:-4])
def test_are_repeated_with_their_log_lines(make_postern, certificates, recordings):
    postern, differences, wrong, turns = make_postern(), Differences(), [], {}
    listeners = serve(postern, certificates, recordings)
    at_once = 1 if any("login_source_ips" in recorded.settings for recorded in recordings) else AT_ONCE  # each takes the next
    with concurrent.futures.ThreadPoolExecutor(at_once) as threads:
        for found in threads.map(
                lambda recorded: compare(postern, certificates, differences, recorded, listeners[recorded.name], turns), recordings):
            wrong += found
    if not wrong:
        wrong += [f"not needed: {row}" for recorded in recordings for row in differences.stale_of_proxy(recorded.name)]
    assert not wrong, "\n".join(wrong)
