#!/usr/bin/env python3
"""Does doc/status.md name every row of the threat model exactly once, as covered or as open, and is each covered row
named by a test?

    status_rows.py SOURCE_ROOT"""
import pathlib
import re
import sys

ROW = re.compile(r"T[-_]((?:NET|TLS|USR|BCK|OWN|LOC|CTL|DAT|FAT|PRIV)[-_]\d\d)")


def rows(text):
    return [match.replace("_", "-") for match in ROW.findall(text)]


def main():
    root = pathlib.Path(sys.argv[1])
    text = (root / "doc/status.md").read_text()
    covered = rows(text.partition("### Covered")[2].partition("###")[0])
    still_open = rows(text.partition("### Open")[2].partition("\n## ")[0])
    tested = set()
    for folder in ("unit", "integration", "fuzz"):
        for path in (root / "tests" / folder).rglob("*"):
            if path.suffix in (".cc", ".py"):
                tested.update(rows(path.read_text(errors="replace")))
    wrong = [f"T-{row}: said to be covered, but no test names it" for row in covered if row not in tested]
    wrong += [f"T-{row}: both covered and open" for row in set(covered) & set(still_open)]
    for number in re.finditer(r"^\| T-(\w+) \| (\d+) \|", text, re.M):
        family, count = number.group(1), int(number.group(2))
        wrong += [f"T-{family}-{n:02}: not mentioned" for n in range(1, count + 1)
                  if f"{family}-{n:02}" not in covered + still_open]
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
