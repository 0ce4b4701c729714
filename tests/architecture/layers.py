"""The table of layers: which package sits where, and which may open what.

    package  ->  layer

A package imports only lower layers, and within its layer only itself.
"""

from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "cairn"

LAYERS: dict[str, int] = {
    # values
    "net": 0,
    "wire": 0,
    "reconcile": 0,
    "machine": 0,
    # models
    "abi": 1,
    "kube": 1,
    "flow": 1,
    # protocol cores
    "bfd": 2,
    "bgp": 2,
    "ethernet": 2,
    "apiserver": 2,
    "dns": 2,
    # what the stages below compile to: models over models
    "desired": 2,
    "health": 2,
    # pure stages, and the doors to the kernel
    "compile": 3,
    "observe": 3,
    "libbpf": 3,
    "linux": 3,
    "netlink": 3,
    "drive": 3,
    # effects and judgements
    "apply": 4,
    "diagnose": 4,
    "hubble": 4,
    # composition roots
    "agent": 5,
    "operator": 5,
    "router": 5,
    "speaker": 5,
    "dnsproxy": 5,
    "proxy": 5,
    "relay": 5,
    "cni": 5,
    "api": 5,
    "lab": 5,
    # the command line
    "cli": 6,
}

# Standard modules that only some packages may import: effects have an address.
RESERVED: dict[str, frozenset[str]] = {
    "asyncio": frozenset({"drive", "netlink", "apply", "hubble"}),
    "socket": frozenset({"drive", "netlink", "linux"}),
    "ctypes": frozenset({"libbpf", "linux"}),
    "time": frozenset({"drive", "libbpf", "linux", "netlink"}),
    "random": frozenset({"drive"}),
    "struct": frozenset({"wire", "abi", "libbpf", "linux", "netlink"}),
    "subprocess": frozenset({"linux", "netlink", "apply"}),
}
FREE_LAYER = 5
"""Composition roots, from this layer up, may import all of RESERVED but ctypes."""


def modules() -> list[Path]:
    """Return every Python module below src/cairn, generated ones included."""
    return sorted(SOURCE.rglob("*.py"))


def package_of(path: Path) -> str | None:
    """Return the package a module belongs to; None for the root's own modules."""
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else None
