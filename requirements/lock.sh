#!/usr/bin/env bash
# Writes both locks, with hashes, from pyproject.toml and the .in file of each set. Versions stay as
# they are where they fit; UPGRADE=1 takes the newest that fit. Then checks that both can be installed.
# Usage: requirements/lock.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
project="$(pwd)"
uv="$(command -v uv || echo "$project/.venv/bin/uv")"
header="# Written by requirements/lock.sh"
options=(--all-extras --generate-hashes --no-annotate --no-header --quiet ${UPGRADE:+--upgrade})
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

# One Python: the lock is of that one.
"$uv" pip compile "${options[@]}" --python-version 3.10 --python-platform x86_64-manylinux_2_31 \
  -o requirements/reference.txt pyproject.toml requirements/reference.in
# Several: one lock with markers for each of them.
cp README.md LICENSE requirements/current.in "$scratch"
{
  cat pyproject.toml
  echo '[tool.uv]'
  echo "environments = [\"sys_platform == 'linux' and platform_machine == 'x86_64' and python_version >= '3.11' and python_version < '3.14'\"]"
} > "$scratch/pyproject.toml"
(cd "$scratch" && "$uv" pip compile "${options[@]}" --universal --python-version 3.11 \
  -o "$project/requirements/current.txt" pyproject.toml current.in)
for stack in reference current; do
  { echo "$header"; grep -v "^# Written by" "requirements/$stack.txt"; } > "$scratch/$stack.txt"
  cp "$scratch/$stack.txt" "requirements/$stack.txt"
done
check() { # lock, Python, C library
  "$uv" pip install --quiet --dry-run --no-deps --require-hashes --target "$scratch/none" \
    --python-version "$2" --python-platform "x86_64-manylinux_$3" -r "requirements/$1.txt"
  echo "requirements/$1.txt can be installed on Python $2."
}
check reference 3.10 2_31
for minor in 11 12 13; do check current "3.$minor" 2_39; done
