# Sourced by ops/up and ops/test: want PACKAGE... installs what is missing of Debian's packages.

build_packages="cmake ninja-build gcc libc6-dev pkg-config libzmq3-dev libczmq-dev libsqlite3-dev
  libmsgpack-dev libcjson-dev libarchive-dev libisal-dev zlib1g-dev libmicrohttpd-dev libssl-dev
  libxxhash-dev libcurl4-openssl-dev curl"
test_packages="libcmocka-dev python3 python3-zmq python3-msgpack libarchive-tools procps"
# What ops/bench --peers races against; shellcheck cannot see who sources this.
# shellcheck disable=SC2034
peer_packages="postgresql-15 libpq-dev influxdb"

want() {
  local missing=() package run=()
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
      echo "metricmq: these Debian packages are missing: ${missing[*]}" >&2
      echo "metricmq: install them as root, then run this again: apt-get install ${missing[*]}" >&2
      return 1
    fi
    run=(sudo -n)
  fi
  echo "metricmq: installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  local log; log=$(mktemp)
  if ! { "${run[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" ||
         { "${run[@]}" apt-get update -q && "${run[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"; }
       } >"$log" 2>&1; then
    tail -20 "$log" >&2; rm -f "$log"
    echo "metricmq: apt-get could not install ${missing[*]}" >&2
    return 1
  fi
  rm -f "$log"
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
