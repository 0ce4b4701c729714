"""What all parts of one node's kubelet share.

--lab, --node, --kubeconfig  ->  Station
"""

from dataclasses import dataclass

from cairn.drive.kube_client import Client
from cairn.lab.kubelet.credentials import Pki
from cairn.lab.kubelet.places import Places
from cairn.lab.kubelet.recorder import Recorder
from cairn.lab.kubelet.volumes import NameService

SERVICE_ADDRESS = ("10.96.0.1", "443")
"""Where pods find the API server: the Service default/kubernetes."""


@dataclass(frozen=True, slots=True)
class Station:
    """One node, as its kubelet knows it."""

    client: Client
    """The API server."""
    places: Places
    """Where files lie."""
    recorder: Recorder
    """Where events go."""
    pki: Pki
    """Keys and tokens."""
    names: NameService
    """How names are resolved."""
    addresses: tuple[str, ...]
    """The node's addresses, one per family."""
    api_address: tuple[str, str]
    """Host and port of the API server itself, for pods in the node's network."""
    path: str
    """PATH of containers: the lab's own commands, then the system's."""

    @property
    def node(self) -> str:
        """Name of the node."""
        return self.places.node
