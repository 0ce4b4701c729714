"""Notes on cilium.io objects that are written in the dialect of the reference document.

    object  ->  one sentence per finding: what stands there, what Cairn does, what to write

Invariants  Pure; never refuses anything. A field of the wrong type finds nothing: the schema tells.
            No sentence says that Cairn does what it does not do.
Not here    Kinds and fields that do nothing at all (cairn.kube.unsupported), network policies
            (policy_rules).
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any

GROUP = "cilium.io"
Found = Iterator[str]


def warnings(obj: Mapping[str, Any]) -> list[str]:
    """Return the notes on one object, each once."""
    found, spec = _FINDERS.get(str(obj.get("kind"))), obj.get("spec")
    if found is None or not isinstance(spec, Mapping):
        return []
    return list(dict.fromkeys(found(spec, obj)))


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [x for x in value if isinstance(x, Mapping)] if isinstance(value, list) else []


def _pool(spec: Mapping[str, Any], obj: Mapping[str, Any]) -> Found:
    if spec.get("cidrs"):
        yield "spec.cidrs is the older name: Cairn reads it as spec.blocks; write spec.blocks"
    for block in [*_maps(spec.get("blocks")), *_maps(spec.get("cidrs"))]:
        cidr = block.get("cidr")
        if isinstance(cidr, str) and (note := _loose_cidr(cidr)):
            yield note
    yield from _on_link(spec)


def _loose_cidr(cidr: str) -> str:
    """Return a note if the address of a network is not its first one."""
    try:
        interface = ipaddress.ip_interface(cidr)
    except ValueError:
        return f"{cidr!r} is not a network: this block gives no address; write it as 192.0.2.0/24"
    network, first = interface.network, interface.ip
    if first == network.network_address or network.num_addresses == 1:
        return ""
    last = network.broadcast_address
    return (
        f"{cidr} is the network {network} ({network.network_address} to {last}), though it may "
        f"mean the addresses from {first} on: Cairn hands out only {first} to {last}, which both "
        f'hold; write start: "{first}" and stop: "{last}"'
    )


def _on_link(spec: Mapping[str, Any]) -> Found:
    private = ipaddress.IPv4Network("192.168.0.0/16")
    for block in [*_maps(spec.get("blocks")), *_maps(spec.get("cidrs"))]:
        text = block.get("cidr") or block.get("start")
        try:
            network = ipaddress.ip_interface(str(text)).network
        except ValueError:
            continue
        if isinstance(network, ipaddress.IPv4Network) and network.subnet_of(private):
            yield (
                f"the pool {text} may lie in a subnet of nodes and clients: a client there asks by "
                "ARP and uses no BGP route; for each address one of the nodes that serve it "
                "answers, so all of its clients there go by that node, without ECMP; choose a "
                "subnet that no host is in to spread them"
            )
            return


def _peering(spec: Mapping[str, Any], obj: Mapping[str, Any]) -> Found:
    if "nodeSelector" not in spec:
        yield "spec.nodeSelector is missing: Cairn peers from every node; write nodeSelector: {}"
    for index, router in enumerate(_maps(spec.get("virtualRouters"))):
        path = f"spec.virtualRouters[{index}]"
        for number, neighbor in enumerate(_maps(router.get("neighbors"))):
            yield from _neighbor(neighbor, router.get("localASN"), f"{path}.neighbors[{number}]")


def _neighbor(neighbor: Mapping[str, Any], local: Any, path: str) -> Found:
    if "peerAddress" not in neighbor:
        names = ", ".join(sorted(neighbor)) or "nothing"
        yield (
            f"{path} has no peerAddress (it has {names}): Cairn takes it for a part of the "
            "neighbor above it; write its fields there, without a dash"
        )
    if "eBGPMultihop" in neighbor or "eBGPMultihopTTL" in neighbor:
        if neighbor.get("peerASN") == local:
            yield (
                f"{path}: eBGPMultihop stands at an iBGP peer (AS {local} on both ends), where it "
                "means nothing: Cairn leaves it out; remove it"
            )
        elif "eBGPMultihop" in neighbor:
            yield (
                f"{path}: eBGPMultihop is a shorter name: Cairn reads it as eBGPMultihopTTL; "
                "write eBGPMultihopTTL"
            )
    if "password" in neighbor:
        yield (
            f"{path}: the password stands in the open for all who may read this object: Cairn uses "
            "it; write authSecretRef with the name of a Secret in kube-system"
        )
    for name in ("maxPrefixes", "importFilter", "exportFilter"):
        if name in neighbor:
            yield (
                f"{path}: {name} is Cairn's own addition: Cairn applies it to this peer, other "
                "systems do not know the field; keep it if Cairn alone reads this"
            )
    yield from _family(neighbor, path)


def _family(neighbor: Mapping[str, Any], path: str) -> Found:
    family, address = neighbor.get("ipFamily"), neighbor.get("peerAddress")
    if not isinstance(family, str):
        return
    try:
        version = ipaddress.ip_interface(str(address)).version
    except ValueError:
        return
    found = f"ipv{version}"
    if family.lower() != found:
        yield (
            f"{path}: ipFamily {family} contradicts the address {address}, which is {found}: Cairn "
            f"leaves this neighbor out; write ipFamily: {found} or none, or correct the address"
        )
    else:
        yield (
            f"{path}: ipFamily {family} only repeats what the address says: Cairn checks it and "
            f"the session carries {found} unicast; leave it out"
        )


def _envoy(spec: Mapping[str, Any], obj: Mapping[str, Any]) -> Found:
    if any(service.get("routes") for service in _maps(spec.get("services"))):
        yield (
            "spec.services[].routes is a shorter form of Envoy's routes: this version routes by "
            "neither, other systems read spec.resources with Envoy's own route configuration alone"
        )


def _mesh(spec: Mapping[str, Any], obj: Mapping[str, Any]) -> Found:
    yield ("CiliumClusterMesh is a kind of Cairn's own: other systems do not know it")


_FINDERS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Found]] = {
    "CiliumLoadBalancerIPPool": _pool,
    "CiliumBGPPeeringPolicy": _peering,
    "CiliumEnvoyConfig": _envoy,
    "CiliumClusterwideEnvoyConfig": _envoy,
    "CiliumClusterMesh": _mesh,
}
