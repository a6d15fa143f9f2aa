#!/usr/bin/env bash
# Runs a command on the current set in a Debian 13 folder, for machines with an older C library.
# Usage, as root: requirements/debian13.sh FOLDER COMMAND...
#   e.g. requirements/debian13.sh /opt/debian13 make test
# Makes the folder with debootstrap on first use (about two minutes), clones the last commit of this
# repository into it, and runs the command there. The clone and its .venv are kept between calls.
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [ $# -lt 2 ]; then
  sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
folder="$1"
shift
packages=python3,python3-venv,python3-dev,g++,git,make,ca-certificates
if [ ! -x "$folder/usr/bin/python3" ]; then
  command -v debootstrap >/dev/null || { echo "debootstrap is needed: apt-get install debootstrap" >&2; exit 1; }
  debootstrap --include="$packages" trixie "$folder"
fi
# The folder fetches packages as this machine does.
for file in /etc/resolv.conf /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
  if [ -f "$file" ]; then
    mkdir -p "$folder$(dirname "$file")"
    cp -L "$file" "$folder$file"
  fi
done
for name in proc dev sys; do
  mountpoint -q "$folder/$name" || mount --rbind "/$name" "$folder/$name"
done
clone="$folder/srv/imn"
if [ ! -d "$clone/.git" ]; then
  git clone --quiet "$project" "$clone"
else
  git -C "$clone" fetch --quiet "$project" HEAD
  git -C "$clone" reset --quiet --hard FETCH_HEAD
fi
exec chroot "$folder" /usr/bin/env HOME=/root IMN_STACK=current PATH=/usr/local/bin:/usr/bin:/bin \
  bash -c 'cd /srv/imn && exec "$@"' bash "$@"
