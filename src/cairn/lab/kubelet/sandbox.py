"""A pod's network: a namespace of its own, joined to the cluster's network by CNI.

    pod  ->  namespace, CNI ADD  ->  Sandbox(netns, addresses);  Sandbox  ->  CNI DEL

Invariants  SANDBOX.json is written before anything is made, so that what was half done is undone
            by DEL, by this kubelet or the next.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cairn.kube.metadata import Object
from cairn.lab.kubelet import cni_call
from cairn.lab.kubelet.places import Places
from cairn.lab.state import write_whole
from cairn.linux import namespace

PLUGIN_PATH = ("/opt/cni/bin", "/usr/lib/cni", os.path.dirname(sys.executable))
"""The last holds `cairn-cni` itself."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What holds a pod's containers together."""

    container_id: str
    """Its id, as CNI knows it."""
    netns: str
    """File of its network namespace; empty when it uses the node's."""
    addresses: tuple[str, ...] = ()
    """The pod's addresses."""
    result: dict[str, Any] = field(default_factory=dict)
    """What CNI ADD returned."""
    ready: bool = False
    """Whether ADD has succeeded."""


async def create(places: Places, pod: Object, host_addresses: tuple[str, ...]) -> Sandbox:
    """Return a pod's sandbox, made now if need be; raises CniFailed or OSError."""
    metadata = pod["metadata"]
    uid = metadata["uid"]
    known = load(places, uid)
    if known and known.ready:
        return known
    if (pod.get("spec") or {}).get("hostNetwork"):
        sandbox = Sandbox(_id_of(uid), "", host_addresses, ready=True)
        _save(places, uid, sandbox)
        return sandbox
    network = cni_call.load_network(places.cni_config)
    name = places.netns(uid)
    sandbox = Sandbox(_id_of(uid), str(namespace.netns_path(name)))
    _save(places, uid, sandbox)
    if not namespace.exists(name):
        namespace.delete(name)  # a file that a restart of the machine has left
        namespace.create(name)
    result = await cni_call.add(network, _attachment(places, pod, sandbox), PLUGIN_PATH)
    sandbox = replace(
        sandbox, addresses=tuple(cni_call.addresses_of(result)), result=result, ready=True
    )
    _save(places, uid, sandbox)
    return sandbox


async def remove(places: Places, pod: Object) -> None:
    """Undo a pod's sandbox; raises CniFailed while the network cannot let it go."""
    uid = pod["metadata"]["uid"]
    sandbox = load(places, uid)
    if sandbox is None:
        return
    if sandbox.netns:
        network = cni_call.load_network(places.cni_config)
        await cni_call.delete(
            network, _attachment(places, pod, sandbox), PLUGIN_PATH, sandbox.result
        )
        namespace.delete(Path(sandbox.netns).name)
    (places.pod(uid) / "sandbox.json").unlink(missing_ok=True)


def load(places: Places, uid: str) -> Sandbox | None:
    """Return the sandbox of a pod as last written."""
    try:
        raw = json.loads((places.pod(uid) / "sandbox.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    sandbox = Sandbox(**{**raw, "addresses": tuple(raw["addresses"])})
    gone = sandbox.netns and not namespace.exists(Path(sandbox.netns).name)
    return replace(sandbox, ready=False) if gone else sandbox


def _id_of(uid: str) -> str:
    return uid.replace("-", "").ljust(64, "0")[:64]


def _attachment(places: Places, pod: Object, sandbox: Sandbox) -> cni_call.Attachment:
    metadata = pod["metadata"]
    arguments = (
        "IgnoreUnknown=1",
        f"K8S_POD_NAMESPACE={metadata.get('namespace', '')}",
        f"K8S_POD_NAME={metadata['name']}",
        f"K8S_POD_INFRA_CONTAINER_ID={sandbox.container_id}",
        f"K8S_POD_UID={metadata['uid']}",
    )
    return cni_call.Attachment(
        sandbox.container_id, sandbox.netns, ";".join(arguments), run=places.host_path("/run/cairn")
    )


def _save(places: Places, uid: str, sandbox: Sandbox) -> None:
    write_whole(places.pod(uid) / "sandbox.json", json.dumps(asdict(sandbox)))
