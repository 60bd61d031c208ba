#!/usr/bin/env python3
"""Do the includes point only the way the tree is drawn? (doc/architecture.md, "Rooms")

    arrows.py SOURCE_ROOT

Each room may include itself and the rooms named here; only io may see libevent or OpenSSL's TLS.
A room that is not in the table is an error: draw its arrow first."""
import pathlib
import re
import sys

GROUND = {"lib", "wire", "sasl", "config", "io"}
ARROWS = {
    "lib": set(),
    "wire": {"lib"},
    "sasl": {"lib", "wire"},
    "config": {"lib"},
    "io": {"lib"},
    "service": {"lib", "wire", "config", "io"},
    "login-common": GROUND | {"service"},
    "imap-login": GROUND | {"service", "login-common"},
    "managesieve-login": GROUND | {"service", "login-common"},
    "pop3-login": GROUND | {"service", "login-common"},
    "submission-login": GROUND | {"service", "login-common"},
    "auth": GROUND | {"service"},
    "master": {"lib", "wire", "config", "io"},
    "anvil": {"lib", "wire", "config", "io", "service"},
    "log": {"lib", "wire", "config", "io", "service"},
    "ctl": {"lib", "wire", "config", "io"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
EVENT_LIBRARY = re.compile(r"^(event2/|event\.h|evutil|openssl/ssl\.h)")


def complaints(root):
    source = root / "src"
    for room in sorted(p.name for p in source.iterdir() if p.is_dir()):
        if room not in ARROWS:
            yield f"src/{room}: a room without an arrow in tests/includes/arrows.py"
    for path in sorted(source.rglob("*")):
        if path.suffix not in (".h", ".cc", ".def", ".inc"):
            continue
        room = path.relative_to(source).parts[0]
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, name = match.groups()
            where = f"{path.relative_to(root)}:{number}"
            if EVENT_LIBRARY.match(name) and room != "io":
                yield f"{where}: only io may include {name}"
            if quote == "<":
                continue
            target = name.split("/")[0] if "/" in name else None
            if target is None:
                if name != "postern-build.h" and not name.endswith("-list.inc"):
                    yield f'{where}: "{name}": ours are named by path from src/'
            elif target not in ARROWS:
                yield f'{where}: "{name}": there is no room called {target}'
            elif target != room and target not in ARROWS.get(room, set()):
                yield f'{where}: "{name}": no arrow leads from {room} to {target}'


def main():
    found = list(complaints(pathlib.Path(sys.argv[1])))
    for complaint in found:
        print(complaint)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
