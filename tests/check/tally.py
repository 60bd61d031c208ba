#!/usr/bin/env python3
"""Counts test results for ./check; prints `PASSED FAILED SKIPPED` and, on stderr, what failed.

    tally.py meson TESTLOG.json GTEST_DIR    the programs of one `meson test`, by case where
                                             GoogleTest left a report, by program otherwise
    tally.py junit FILE.xml                  one pytest run
"""
import json
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def gtest_cases(report):
    """(passed, names of the failed, skipped) of one GoogleTest JSON report."""
    passed, failed, skipped = 0, [], 0
    for suite in json.loads(report.read_text())["testsuites"]:
        for case in suite["testsuite"]:
            if case.get("failures"):
                failed.append(f"{suite['name']}.{case['name']}")
            elif case.get("result") == "SKIPPED" or case.get("status") == "NOTRUN":
                skipped += 1
            else:
                passed += 1
    return passed, failed, skipped


def meson(testlog, reports):
    passed, failed, skipped = 0, [], 0
    for line in pathlib.Path(testlog).read_text().splitlines():
        test = json.loads(line)
        program = pathlib.Path(test["command"][0]).name
        report = pathlib.Path(reports) / (program + ".json")
        good = test["result"] in ("OK", "EXPECTEDFAIL")
        if report.exists():
            some = gtest_cases(report)
            passed, skipped = passed + some[0], skipped + some[2]
            failed += [f"{test['name']}: {name}" for name in some[1]]
            good = good or bool(some[1])  # a crash after the last case still counts as one
            if not good:
                failed.append(f"{test['name']}: {test['result']}")
        elif test["result"] == "SKIP":
            skipped += 1
        elif good:
            passed += 1
        else:
            failed.append(f"{test['name']}: {test['result']}")
    return passed, failed, skipped


def junit(path):
    passed, failed, skipped = 0, [], 0
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed.append(f"{case.get('classname')}.{case.get('name')}")
        elif "skipped" in kinds:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main(argv):
    readers = {"meson": meson, "junit": junit}
    passed, failed, skipped = readers[argv[1]](*argv[2:])
    for name in failed:
        print(f"  FAILED {name}", file=sys.stderr)
    print(passed, len(failed), skipped)


if __name__ == "__main__":
    main(sys.argv)
