#!/usr/bin/env bash
# Debian's kubectl (1.20), as a test subject at .cache/kubectl/1.20/kubectl. The package is unpacked,
# not installed: the kubectl on the PATH stays what it is.
set -euo pipefail

target=$(cd "$(dirname "$0")/.." && pwd)/.cache/kubectl/1.20
[ -x "$target/kubectl" ] && exit 0

die() { echo "install: $*" >&2; exit 1; }

command -v apt-get >/dev/null || die "this is no Debian: put a kubectl 1.20 at $target/kubectl"
echo "==> kubectl 1.20, from Debian's kubernetes-client"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt's own user writes here
cd "$work"
apt-get download -q kubernetes-client >log 2>&1 ||
  { apt-get update -qq >log 2>&1 && apt-get download -q kubernetes-client >>log 2>&1; } ||
  { tail -5 log >&2; die "apt-get download kubernetes-client failed"; }
dpkg -x kubernetes-client_*.deb unpacked
mkdir -p "$target"
cp unpacked/usr/bin/kubectl "$target/.kubectl.new"
mv "$target/.kubectl.new" "$target/kubectl"
