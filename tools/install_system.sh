#!/usr/bin/env bash
# Install the Debian packages that Cairn needs: `run` to run the lab, `test` for the tests' peers too.
# Packages that are there already are not touched; daemons are installed but never started.
set -euo pipefail

run_packages=(
  python3-venv clang-19 llvm-19 libbpf-dev bpftool linux-libc-dev
  iproute2 nftables kmod procps ethtool
  iputils-ping iputils-tracepath telnet net-tools curl iperf3 nginx-light kubernetes-client
)
test_packages=(prometheus frr bird2 openbgpd gobgpd tcpdump conntrack bind9-dnsutils postgresql make git)

die() { echo "install: $*" >&2; exit 1; }

# Already there, as a package or as a program of the same purpose from elsewhere.
present() {
  dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed && return 0
  case $1 in
    kubernetes-client) command -v kubectl >/dev/null ;;
    nginx-light) command -v nginx >/dev/null ;;
    python3-venv) python3 -c 'import ensurepip' 2>/dev/null ;;
    *) return 1 ;;
  esac
}

wanted=("${run_packages[@]}")
[ "${1:-run}" = test ] && wanted=("${test_packages[@]}")
missing=()
for name in "${wanted[@]}"; do
  present "$name" || missing+=("$name")
done
[ ${#missing[@]} -eq 0 ] && exit 0

[ "$(id -u)" = 0 ] || die "packages are missing (${missing[*]}): run as root, or install them"
command -v apt-get >/dev/null || die "this is no Debian: install by hand: ${missing[*]}"
echo "==> Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
apt-get update -qq >"$log" 2>&1 || { tail -5 "$log" >&2; die "apt-get update failed"; }
# Run level 1 keeps invoke-rc.d from starting the daemons that come with the packages.
RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1 ||
  { tail -15 "$log" >&2; die "apt-get install failed"; }
rm -f "$log"
