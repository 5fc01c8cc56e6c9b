# shellcheck shell=bash
# Sourced by what ops/fresh-machine runs on its systems.
fail() { echo "FAILED: $1"; exit 1; }
part() { echo "== $1"; }
# expect PART TEXT: the text has that part.
expect() { grep -qF -- "$1" <<<"$2" || fail "no '$1' in: ${2:0:400}"; }
# wait_for COMMAND...: until it succeeds, for at most 30 s.
wait_for() {
  local end=$((SECONDS + 30))
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || fail "$* did not come"
    sleep 0.1
  done
}
# apt COMMAND...: says nothing unless it fails.
apt_quietly() {
  apt-get -q -y --no-install-recommends "$@" >/tmp/apt.log 2>&1 || { tail -20 /tmp/apt.log; fail "apt-get $*"; }
}
# What a step installs: note_packages before it, tell_packages NAME after it.
packages() { dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n' | sed -n 's/^ii *//p' | LC_ALL=C sort; }
note_packages() { packages >/tmp/packages.before; }
tell_packages() {
  packages | LC_ALL=C comm -13 /tmp/packages.before - >/tmp/packages.new
  echo "$1 installed $(wc -l </tmp/packages.new) packages:"
  cut -d' ' -f1 /tmp/packages.new | paste -sd' ' | fold -sw 100
}
