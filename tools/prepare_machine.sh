#!/usr/bin/env bash
# Give a machine without systemd what tests and peers expect to find after boot: a BPF file system,
# and the folder that OpenBGPD changes its root to. Neither survives a reboot, so this runs each time.
set -euo pipefail

[ "$(id -u)" = 0 ] || exit 0 # the tests name what they lack
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
home=$(getent passwd _openbgpd | cut -d: -f6) || exit 0
[ -n "$home" ] && mkdir -p "$home"
