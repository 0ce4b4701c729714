"""The door to what Linux offers and Python 3.11 lacks: namespaces, mounts, control groups, sysctls.

    names, paths, flags  ->  system calls and the files of procfs and cgroupfs

Not here    BPF (cairn.libbpf), links and routes (cairn.netlink).
"""
