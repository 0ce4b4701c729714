"""Whether this machine can run a lab: root, kernel, file systems, tools.

    machine  ->  nothing, or LabError with one line that says what to do

Not here    What the data plane needs of the kernel: the agent says so itself.
"""

import os
import re
import shutil
from pathlib import Path

from cairn.lab.state import LabError
from cairn.linux import cgroup, mount

OLDEST_KERNEL = (6, 6)
"""The first kernel with tcx links."""

# router kind -> (program, Debian package) that it cannot do without
_TOOLS: dict[str, tuple[tuple[str, str], ...]] = {
    "cairn": (("nft", "nftables"),),
    "frr": (("/usr/lib/frr/bgpd", "frr"), ("vtysh", "frr")),
    "bird": (("bird", "bird2"), ("birdc", "bird2")),
    "openbgpd": (("/usr/sbin/bgpd", "openbgpd"), ("bgpctl", "openbgpd")),
}


def check_root(action: str) -> None:
    """Raise unless the caller is root."""
    if os.geteuid() != 0:
        raise LabError(f"{action} needs root for network namespaces; run it with sudo")


def check_machine(router: str) -> None:
    """Raise for the first thing that this machine lacks; mounts bpffs if it is not mounted."""
    release = os.uname().release
    if kernel_version(release) < OLDEST_KERNEL:
        wanted = ".".join(map(str, OLDEST_KERNEL))
        raise LabError(f"kernel {release} is too old: Cairn needs Linux {wanted} or newer")
    try:
        root = cgroup.unified_root()
    except cgroup.NoUnifiedHierarchy as error:
        raise LabError(str(error.strerror)) from None
    if not os.access(root, os.W_OK):
        raise LabError(f"{root} is read-only; a container needs --privileged for the lab")
    try:
        mount.ensure_bpffs()
    except OSError as error:
        raise LabError(
            f"cannot mount the BPF file system on {mount.BPF_DIRECTORY} ({error.strerror}); "
            "is CONFIG_BPF_SYSCALL on, and is this a privileged container?"
        ) from None
    for program, package in _TOOLS[router]:
        if not _is_there(program):
            raise LabError(f"{program} is missing; install it: apt-get install {package}")


def kernel_version(release: str) -> tuple[int, int]:
    """Return major and minor of a kernel release; (0, 0) if it does not begin with them."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _is_there(program: str) -> bool:
    folders = [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"]
    if program.startswith("/"):
        return Path(program).exists()
    return shutil.which(program, path=":".join(folders)) is not None
