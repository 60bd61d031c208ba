#!/usr/bin/env python3
"""What many logins leave behind, by all protocols, when a third of them fails in different ways. Prints figures; exit code 1 if
anything is left: a descriptor, a session, a login that is waited for, a client that is counted, or memory.

    endurance.py [--logins 20000] [--warm-up 4000] [--growth 1024]

--growth: kilobytes that a process may grow by between the end of the warm-up and the end. POSTERN_BUILD names the (release) build
tree. Starts an instance and backends of its own, with the integration tests' harness. Loopback only."""
import argparse
import pathlib
import resource
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from harness.certificates import Authority  # noqa: E402
from harness.endurance import counts_are_back, endure  # noqa: E402
from harness.postern import Postern  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logins", type=int, default=20000)
    parser.add_argument("--warm-up", type=int, default=4000)
    parser.add_argument("--growth", type=int, default=1024)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="postern-endurance-"))
    directory.chmod(0o755)
    authority = Authority(directory / "certificates")
    gate = Postern(directory / "p", authority.issue("server", ["localhost", "127.0.0.1"]))
    try:
        before, after, clients, seconds = endure(gate, authority.issue("mixed", ["127.0.0.1"]), options.warm_up, options.logins,
                                                 50, login_proxy_max_reconnects="1")
        counted = not counts_are_back(gate)
        complaints = gate.stop() + gate.complaints()
    finally:
        gate.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{options.logins} logins in {seconds:.0f} s, {clients.failed} of them failed (after {options.warm_up} before them)")
    for (kind, outcome), count in sorted(clients.outcomes.items()):
        print(f"  {kind:14} {outcome:35} {count:6}")
    print(f"{'process':20} {'descriptors':>16} {'resident, KB':>20} {'proportional, KB':>20}")
    for pid, (name, files, resident, proportional) in before.items():
        if pid not in after:
            complaints.append(f"{name} {pid} has ended")
            continue
        _, files_now, resident_now, proportional_now = after[pid]
        print(f"{name:20} {files:7} -> {files_now:5} {resident >> 10:9} -> {resident_now >> 10:7} {proportional >> 10:9} -> {proportional_now >> 10:7}")
        if files_now != files:
            complaints.append(f"{name} {pid} has {files_now} descriptors, and had {files}")
        if resident_now - resident > options.growth << 10:
            complaints.append(f"{name} {pid} has grown by {(resident_now - resident) >> 10} KB")
    complaints += [f"{after[pid][0]} {pid} is new" for pid in after if pid not in before]
    complaints += ["addresses are counted that have left"] if counted else []
    print("\n".join(complaints) if complaints else "nothing is left: no session, no waiting login, no counted address")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
