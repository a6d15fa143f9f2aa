#!/usr/bin/env bash
# Tests the current set on a machine of the reference set: the directories whose tests depend most on
# the versions, in a Debian 13 folder (debian13.sh), one after the other while there is time.
# Usage: requirements/test_other_set.sh SECONDS
# Says in one line why it does nothing, and exits with 0, where the machine cannot make such a folder.
# IMN_DEBIAN13 is the folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ $# -ne 1 ]; then
  sed -n '2,7s/^# //p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
end=$((SECONDS + $1))
folder="${IMN_DEBIAN13:-/var/tmp/imn-debian13}"
least=600 # seconds that the folder and its environment take, and the shortest directory
directories=(tests/end_to_end tests/serving tests/model/training tests/pipeline/evaluation)

skip() {
  echo "The other set is not tested: $1."
  exit 0
}
set_here="$(cut -d' ' -f1 .venv/.lock 2>/dev/null || true)"
[ "$set_here" = reference ] || skip "this machine has the current set; IMN_STACK=reference make test, in another clone, tests the other"
[ "$(id -u)" = 0 ] || skip "a Debian 13 folder needs root"
[ -x "$folder/usr/bin/python3" ] || command -v debootstrap >/dev/null || skip "a Debian 13 folder needs debootstrap"
mkdir -p "$folder"
free="$(df --output=avail -k "$folder" | tail -1)"
[ -d "$folder/srv/imn/.venv" ] || [ "$free" -gt $((10 << 20)) ] || skip "a Debian 13 folder needs 10 GB in $folder"
[ "$end" -gt $((SECONDS + least)) ] || skip "$1 seconds are left, and it needs more than $least"

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
# A machine may have root and debootstrap and still forbid mounts, or reach no packages.
timeout $((end - SECONDS)) requirements/debian13.sh "$folder" make setup >"$log" 2>&1 ||
  skip "no environment in $folder ($(tail -1 "$log"))"
status=0
tests() { # further options of pytest
  timeout "$left" requirements/debian13.sh "$folder" .venv/bin/python -m pytest "$@" "$directory" >"$log" 2>&1
}
for directory in "${directories[@]}"; do
  left=$((end - SECONDS))
  if [ "$left" -lt 60 ]; then
    echo "Other set, $directory: not run, the time is over."
    continue
  fi
  started=$SECONDS
  code=0
  tests -n 2 --dist loadfile || code=$?
  left=$((end - SECONDS))
  # Some tests have deadlines, and a machine may have other work.
  if [ "$code" = 1 ] && [ "$left" -ge 60 ]; then
    first="$(grep '^FAILED' "$log" || true)"
    code=0
    tests --last-failed || code=$?
    if [ "$code" = 0 ]; then
      echo "Other set, $directory: failed at first, and passed when repeated alone:"
      echo "$first"
    fi
  fi
  if [ "$code" = 124 ]; then
    echo "Other set, $directory: not finished, the time is over."
  elif [ "$code" != 0 ]; then
    status=1
    echo "Other set, $directory: failed."
    cat "$log"
  else
    # Libraries may write more at the end of a process.
    echo "Other set, $directory: $(grep " passed" "$log" | tail -1), $((SECONDS - started)) s."
  fi
done
exit "$status"
