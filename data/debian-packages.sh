# What the scripts here need of Debian, and how they get it. Sourced by quickstart and check.
# shellcheck shell=bash

# To build Postern.
packages_build=(g++ meson ninja-build pkg-config libevent-dev libssl-dev libinih-dev libsqlite3-dev
  libfmt-dev libcli11-dev nlohmann-json3-dev libcrypt-dev libargon2-dev libcap-ng-dev)
# To show it: a mail server behind it, clients in front of it, something that makes databases.
packages_show=(dovecot-core dovecot-imapd dovecot-pop3d dovecot-submissiond dovecot-managesieved curl openssl sqlite3
  procps)
# To test it without servers.
packages_test=(libgtest-dev libgmock-dev ccache clang clang-format clang-tidy python3 openssl)
# To test it with servers.
packages_servers=(dovecot-core dovecot-imapd dovecot-pop3d dovecot-submissiond dovecot-managesieved curl openssl
  haproxy isync libsasl2-modules postfix fetchmail fail2ban libnet-ssleay-perl msmtp swaks sqlite3 procps python3-pytest python3-pytest-xdist
  python3-cryptography python3-sievelib sieve-connect testssl.sh sslscan strace cyrus-common)
# Likewise, but only their programs and nowhere else than beside the tests: Debian lets nobody install two IMAP servers.
packages_beside=(cyrus-imapd cyrus-pop3d)

# packages_missing NAME...: prints those that are not installed, one a line.
packages_missing() {
  local name
  for name in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
  done | sort -u
}

# packages_need PROGRAM NAME...: installs what is missing, or says so in one line and fails with 69.
# No service of a new package is started: Debian asks /usr/sbin/policy-rc.d about that, which is
# put there for the time of the installation unless the host has one of its own.
packages_need() {
  local program=$1
  shift
  if ! command -v dpkg-query >/dev/null; then
    echo "$program: this is not Debian: cannot tell whether the packages are there, going on without" >&2
    return 0
  fi
  local missing
  mapfile -t missing < <(packages_missing "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    echo "$program: packages are missing; as root: apt-get install ${missing[*]}" >&2
    return 69
  fi
  echo "$program: installing ${missing[*]}"
  local policy=/usr/sbin/policy-rc.d own_policy=no status=0 log
  log=$(mktemp) || return 75
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && own_policy=yes
  fi
  # Old lists of packages are often good enough, and sometimes there are none at all.
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 ||
    { apt-get update >>"$log" 2>&1 &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; } ||
    status=69
  [ "$own_policy" = no ] || rm -f "$policy"
  if [ "$status" -ne 0 ]; then
    echo "$program: cannot install ${missing[*]}: $(grep -m1 '^E:' "$log" || tail -n1 "$log")" >&2
  fi
  rm -f "$log"
  return "$status"
}

# packages_unpack PROGRAM DIRECTORY NAME...: puts the files of packages below a directory, without installing them, if they are
# not there yet; their dependencies are the caller's. Says in one line what it could not get, and fails with 69.
packages_unpack() {
  local program=$1 directory=$2 name status=0
  shift 2
  mkdir -p "$directory" || return 73
  for name in "$@"; do
    [ ! -e "$directory/.$name" ] || continue
    # A place of its own that apt's unprivileged user may write to.
    local place
    place=$(mktemp -d) && chmod 755 "$place" || return 75
    if (cd "$place" && { apt-get download "$name" || { apt-get update && apt-get download "$name"; }; }) >/dev/null 2>&1 &&
      dpkg-deb -x "$place"/*.deb "$directory"; then
      touch "$directory/.$name"
    else
      echo "$program: cannot download $name" >&2
      status=69
    fi
    rm -rf "$place"
  done
  return "$status"
}
