"""What many logins leave behind, when a third of them fails in different ways; tests/bench/endurance.py has more of them."""
import pytest

from harness.endurance import counts_are_back, endure

GROWTH = 6 << 20  # bytes a process may grow by: a sanitizer's memory among it


@pytest.mark.alone
def test_1500_logins_leave_no_descriptor_no_memory_and_no_count(postern, authority):
    pair = authority.issue("mixed", ["127.0.0.1"])
    before, after, clients, _ = endure(postern, pair, 500, 1500, login_proxy_max_reconnects="0")
    assert 300 < clients.failed < 750, clients.outcomes
    assert {pid: row[:2] for pid, row in after.items()} == {pid: row[:2] for pid, row in before.items()}
    grown = {after[pid][0]: after[pid][2] - before[pid][2] for pid in before}
    assert max(grown.values()) < GROWTH, grown
    assert counts_are_back(postern)
