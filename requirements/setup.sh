#!/usr/bin/env bash
# Makes .venv from a lock, when it is missing or was made from another lock.
# Usage: [IMN_STACK=reference|current] requirements/setup.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The current set needs glibc 2.39 (ml-metadata and TFDV have no older wheels) and Python 3.11 to 3.13.
glibc="$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2 || true)"
newest=""
for minor in 11 12 13; do
  if command -v "python3.$minor" >/dev/null && "python3.$minor" --version >/dev/null 2>&1; then
    newest="3.$minor"
  fi
done
stack="${IMN_STACK:-}"
if [ -n "$stack" ]; then
  why="IMN_STACK says so"
elif [ -z "$glibc" ] || [ "$(printf '2.39\n%s\n' "$glibc" | sort -V | head -1)" != 2.39 ]; then
  stack=reference why="the C library is ${glibc:-not glibc}, and the current set needs glibc 2.39"
elif [ -z "$newest" ] && ! command -v uv >/dev/null; then
  stack=reference why="there is no Python 3.11 to 3.13, and no uv to fetch one"
else
  stack=current why="glibc is $glibc${newest:+ and Python $newest is here}"
fi
case "$stack" in
  reference) version="$(cat .python-version)" ;;
  current) version="${newest:-3.12}" ;;
  *)
    echo "\`IMN_STACK\` must be reference or current. Received: '$stack'." >&2
    exit 2 ;;
esac
lock="requirements/$stack.txt"
stamp=".venv/.lock"
digest="$stack $version $(cat "$lock" setup.py pyproject.toml | sha256sum | cut -d' ' -f1)  $(pwd)"
# The folder is part of the stamp: a virtual environment cannot be moved.
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$digest" ] && exit 0

is_wanted() {
  command -v "$1" >/dev/null 2>&1 &&
    [ "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$version" ]
}

echo "Setting up .venv: Python $version and $lock, because $why. Once, a minute or two."
rm -rf .venv
made=""
for python in "python$version" python3 python; do
  if is_wanted "$python" && "$python" -m venv .venv 2>/dev/null; then made=yes; break; fi
  rm -rf .venv
done
if [ -z "$made" ]; then
  # No Python of that version here that can make an environment: uv fetches one.
  uv="$(command -v uv || true)"
  if [ -z "$uv" ] && python3 -m venv .uv 2>/dev/null && .uv/bin/pip install --quiet uv; then
    uv=".uv/bin/uv"
  fi
  if [ -z "$uv" ] || ! "$uv" venv --quiet --seed --python "$version" .venv; then
    rm -rf .venv .uv
    cat >&2 <<TEXT
Python $version is needed, and could not be had: neither python$version nor python3 is one (with
its venv module), and uv could not fetch one. Install either, for instance
  apt-get install python$version python$version-venv     or     pyenv install $version
  pip install uv                              (fetches Python where the network allows)
and run the same command again.
TEXT
    exit 1
  fi
fi
rm -rf .uv

# uv resolves nothing here, it only fetches in parallel; pip does the same, slower.
# It compiles at once, as pip does: where PYTHONDONTWRITEBYTECODE is set (most images of Python set
# it) every process would compile TensorFlow's sources anew, seconds of it each time.
uv_pin="$(grep -oE '^uv==[^ ;]+' "$lock")"
if .venv/bin/python -m pip install --quiet --disable-pip-version-check "$uv_pin"; then
  install=(.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python)
else
  install=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
fi
if ! "${install[@]}" --no-deps --require-hashes -r "$lock"; then
  include="$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["include"])')"
  if ! command -v c++ >/dev/null || [ ! -f "$include/Python.h" ]; then
    cat >&2 <<TEXT
pyfarmhash, which TFX needs, comes as source alone: a C++ compiler and Python's headers are needed.
  apt-get install g++ python$version-dev      (the headers come with pyenv's and uv's Python)
and run the same command again.
TEXT
  fi
  exit 1
fi
"${install[@]}" --no-deps --no-build-isolation -e .
echo "$digest" > "$stamp"
