# Sourced by ops/up and ops/test: want PACKAGE... installs what is missing of Debian's packages.

build_packages="cmake ninja-build gcc libc6-dev pkg-config libzmq3-dev libczmq-dev libsqlite3-dev
  libmsgpack-dev libcjson-dev libarchive-dev libisal-dev zlib1g-dev libmicrohttpd-dev libgnutls28-dev libssl-dev
  libxxhash-dev libcurl4-openssl-dev libpq-dev curl"
test_packages="libcmocka-dev python3 python3-zmq python3-msgpack python3-jsonschema libarchive-tools procps openssl
  slowhttptest binutils python3-seccomp iproute2 g++ mandoc man-db zsh fish sqlite3 chromium chromium-driver
  fonts-dejavu-core"
# What ops/package packs with; g++ above is for a consumer of the library.
package_packages="git file dpkg-dev lintian"
# promtool, which checks /metrics and alerts, systemd-analyze, which checks ops/systemd, nginx and haproxy come with daemons.
watch_packages="prometheus systemd nginx-light haproxy"
# The object stores that feedback is delivered to in tests, Ceph's radosgw and OpenStack Swift's s3api, and PostgreSQL.
engine_packages="ceph-mon ceph-osd radosgw python3-rados swift-proxy swift-account swift-container swift-object
  postgresql-15"
# What ops/bench --peers races against; shellcheck cannot see who sources this.
# shellcheck disable=SC2034
peer_packages="postgresql-15 influxdb"

# Those of the packages that are not installed.
missing_of() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || echo "$package"
  done
}

# as_root COMMAND...: runs it as root, if that can be done without asking.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

want() {
  local missing
  mapfile -t missing < <(missing_of "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] && ! { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; then
    echo "metricmq: these Debian packages are missing: ${missing[*]}" >&2
    echo "metricmq: install them as root, then run this again: apt-get install ${missing[*]}" >&2
    return 1
  fi
  echo "metricmq: installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  local log install=(apt-get install -y -q --no-install-recommends "${missing[@]}")
  log=$(mktemp)
  if ! { as_root "${install[@]}" || { as_root apt-get update -q && as_root "${install[@]}"; }; } >"$log" 2>&1; then
    tail -20 "$log" >&2; rm -f "$log"
    echo "metricmq: apt-get could not install ${missing[*]}" >&2
    return 1
  fi
  rm -f "$log"
}

# As want, but daemons that come with the packages are started neither now nor when the machine starts.
want_stopped() {
  local missing units policy=/usr/sbin/policy-rc.d ours='# of metricmq, while it installs packages'
  mapfile -t missing < <(missing_of "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  ( # what asks whether a daemon may be started; a machine that has one keeps it
    if { [ ! -e "$policy" ] || grep -qxF "$ours" "$policy"; } && as_root true 2>/dev/null; then
      trap 'as_root rm -f "$policy"' EXIT
      printf '#!/bin/sh\n%s\nexit 101\n' "$ours" | as_root tee "$policy" >/dev/null || exit
      as_root chmod 755 "$policy" || exit
    fi
    want "${missing[@]}"
  ) || return
  [ -d /run/systemd/system ] || return 0
  mapfile -t units < <(dpkg -L "${missing[@]}" | sed -n 's,.*/systemd/system/\([^/@]*\.\(service\|target\|timer\)\)$,\1,p')
  [ ${#units[@]} = 0 ] || as_root systemctl --quiet disable "${units[@]}" >&2
}

# build PRESET [TARGET]: configures and builds build/PRESET; its output shows only if it fails.
build() {
  local preset=$1 log; shift
  log=$(mktemp)
  echo "metricmq: building ($preset)" >&2
  if ! { cmake --preset "$preset" && cmake --build --preset "$preset" ${1:+--target "$1"}; } >"$log" 2>&1; then
    tail -60 "$log" >&2; rm -f "$log"
    echo "metricmq: the build ($preset) failed" >&2
    return 1
  fi
  rm -f "$log"
}
