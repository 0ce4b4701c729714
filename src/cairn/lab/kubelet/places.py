"""Where the kubelet of one node keeps what it knows, so that a restart finds it again.

Lab, node, pod uid, container  ->  folders, control groups, namespace names
"""

from dataclasses import dataclass
from pathlib import Path

from cairn.lab.state import Lab

BPF_MOUNT = "/sys/fs/bpf"
CGROUP_MOUNT = "/sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one node."""

    lab: Lab
    """The lab that the node belongs to."""
    node: str
    """Name of the node."""

    @property
    def files(self) -> Path:
        """The node's own files."""
        return self.lab.node_files(self.node)

    @property
    def pods(self) -> Path:
        """One folder for each pod, named by uid."""
        return self.files / "var/lib/kubelet/pods"

    @property
    def cni_config(self) -> Path:
        """Where the network plugin puts its configuration."""
        return self.files / "etc/cni/net.d"

    @property
    def group(self) -> Path:
        """The node's control group."""
        return self.lab.group / self.node

    @property
    def shims(self) -> Path:
        """The control group of the processes that watch over containers."""
        return self.group / "shims"

    def pod(self, uid: str) -> Path:
        """Return the folder of a pod."""
        return self.pods / uid

    def container(self, uid: str, name: str) -> Path:
        """Return the folder of a container."""
        return self.pod(uid) / "containers" / name

    def pod_group(self, uid: str) -> Path:
        """Return the control group of a pod."""
        return self.group / "pods" / uid

    def netns(self, uid: str) -> str:
        """Return the name of a pod's network namespace."""
        return self.lab.netns(f"pod-{uid[:8]}")

    def logs(self, namespace: str, pod: str, uid: str) -> Path:
        """Return the folder of a pod's logs."""
        return self.lab.durable / "pods" / f"{namespace}_{pod}_{uid}"

    def host_path(self, path: str) -> Path:
        """Return what a pod's hostPath stands for on this node."""
        clean = "/" + path.strip("/")
        for mount, real in ((BPF_MOUNT, self.lab.pins / self.node), (CGROUP_MOUNT, self.group)):
            if clean == mount or clean.startswith(mount + "/"):
                return Path(f"{real}{clean[len(mount) :]}")
        return Path(f"{self.files}{clean}")
