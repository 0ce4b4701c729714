"""The door to BPF: objects, maps, links and ring buffers, by ctypes and bpf(2).

    object files  ->  programs at their hooks, maps to read and write

    needs = probe(Path("/sys/fs/bpf"))                      # what the kernel lacks
    loaded = load_object(path, config={".rodata.config": ...}, pins=Path("/sys/fs/bpf/cairn"))
    loaded.maps["services"].update(key, value)
    attach(loaded.programs["uplink_ingress"], AttachType.TCX_INGRESS, ifindex, pin)

Invariants  Every failure is a BpfError with one line that names what, and why.
Not here    what the maps mean (abi), what should be in them (compile, apply)
"""

from cairn.libbpf.error import BpfError
from cairn.libbpf.link import Link, attach, attach_tracepoint, detach_pinned
from cairn.libbpf.object import MapChange, Object, load_object
from cairn.libbpf.probe import Missing, probe
from cairn.libbpf.program import Program, TrialRun
from cairn.libbpf.syscall import AttachType, MapType, UpdateFlag
from cairn.libbpf.table import Map, MapShape, possible_cpus

__all__ = [
    "AttachType",
    "BpfError",
    "Link",
    "Map",
    "MapChange",
    "MapShape",
    "MapType",
    "Missing",
    "Object",
    "Program",
    "TrialRun",
    "UpdateFlag",
    "attach",
    "attach_tracepoint",
    "detach_pinned",
    "load_object",
    "possible_cpus",
    "probe",
]
