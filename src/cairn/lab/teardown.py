"""Take a lab down, whatever state it is in, and prove that nothing is left.

    name  ->  processes killed, namespaces, mounts, pins, groups and files removed

Invariants  Works from what is found, never from the record alone: after a crash, a killed
            supervisor, or half of an `up`. Doing it twice does no harm.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from cairn.lab.state import Lab, LabError, load_lab, namespaces_of
from cairn.linux import cgroup, mount, namespace


@dataclass(frozen=True, slots=True)
class Traces:
    """What of a lab is on the machine."""

    namespaces: tuple[str, ...]
    """Names of network namespaces."""
    processes: tuple[int, ...]
    """Processes in the lab's control groups."""
    strangers: tuple[int, ...]
    """Processes in the lab's namespaces that the lab did not start."""
    mounts: tuple[str, ...]
    """Mounts below the lab's folders."""
    folders: tuple[str, ...]
    """Control groups, pins and folders."""

    def __bool__(self) -> bool:
        return bool(self.namespaces or self.processes or self.mounts or self.folders)

    def lines(self) -> list[str]:
        """Return one line for each kind that is there."""
        rows = {
            "network namespaces": self.namespaces,
            "processes": self.processes,
            "processes of others in its namespaces": self.strangers,
            "mounts": self.mounts,
            "folders": self.folders,
        }
        return [f"{kind}: {', '.join(map(str, what))}" for kind, what in rows.items() if what]


def recorded_or_bare(name: str) -> Lab:
    """Return the lab's record; without one, a lab of that name with everything by default."""
    try:
        return load_lab(name)
    except LabError:
        return Lab(name)


def find_traces(lab: Lab) -> Traces:
    """Return what of the lab is on the machine now."""
    names = tuple(namespaces_of(lab))
    processes = cgroup.processes(lab.group) if lab.group.is_dir() else set()
    places = _folders(lab)
    return Traces(
        names,
        tuple(sorted(processes)),
        tuple(sorted(_strangers(lab, names))),
        tuple(sorted(point for place in (lab.run, lab.durable) for point in _mounts(place))),
        tuple(str(place) for place in places if place.exists()),
    )


def take_down(lab: Lab) -> list[str]:
    """Remove all of the lab; return one line for each thing that would not go."""
    if os.getpid() in cgroup.processes(lab.group):
        raise LabError("`cairn lab down` cannot run inside the lab; run it on the machine itself")
    if lab.group.is_dir():
        for folder in lab.group.iterdir():
            if folder.is_dir() and cgroup.is_frozen(folder):
                cgroup.freeze(folder, frozen=False)
        cgroup.kill(lab.group)
    strangers = _strangers(lab, tuple(namespaces_of(lab)))
    for name in namespaces_of(lab):
        namespace.delete(name)
    for place in (lab.pins, lab.run, *([] if lab.state else [lab.durable])):
        remove_folder(place)
    cgroup.remove(lab.group)
    for root in (lab.run.parent, lab.durable.parent):
        _remove_if_empty(root)
    lines = find_traces(lab).lines()
    if strangers:
        pids = ", ".join(map(str, sorted(strangers)))
        lines.append(f"processes the lab did not start still hold its namespaces: {pids}")
    return lines


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it, but nothing that is only mounted there."""
    mount.unmount_below(folder)
    if not mount.mount_points(str(folder)):
        shutil.rmtree(folder, ignore_errors=True)


def _folders(lab: Lab) -> list[Path]:
    kept = [] if lab.state else [lab.durable]
    return [lab.group, lab.pins, lab.run, *kept]


def _mounts(place: Path) -> set[str]:
    return mount.mount_points(str(place))


def _strangers(lab: Lab, names: tuple[str, ...]) -> set[int]:
    """Return the processes in these network namespaces that are in no group of the lab."""
    inodes = {namespace.inode(name) for name in names if namespace.exists(name)}
    own = f"/{lab.group.name}/"
    found = set()
    for entry in os.listdir("/proc") if inodes else []:
        if entry.isdigit():
            try:
                inside = os.stat(f"/proc/{entry}/ns/net").st_ino in inodes
                if inside and own not in cgroup.group_of(int(entry)) + "/":
                    found.add(int(entry))
            except OSError:
                continue  # it ended meanwhile
    return found


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # other labs, or a real node's files, are there
