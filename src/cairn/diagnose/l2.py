"""Who answers ARP and ND, and what is wrong there.

CiliumNodes, Services, L2 policies  ->  nodes by address; (subject, what) per problem
"""

from collections.abc import Iterable, Iterator, Mapping

from cairn.kube.metadata import Object, key_of

CONFLICT, SELECTED, FINDINGS = "cairn.io/AddressConflict", "cairn.io/Selected", "cairn.io/Findings"


def answering_nodes(cilium_nodes: Iterable[Object]) -> Mapping[str, tuple[str, ...]]:
    """Return the nodes that say they answer for an address, by the address."""
    found: dict[str, tuple[str, ...]] = {}
    for node in sorted(cilium_nodes, key=key_of):
        status = (node.get("status") or {}).get("l2") or {}
        for address in status.get("answered") or ():
            found[address] = (*found.get(address, ()), key_of(node).name)
    return found


def tell_l2(services: Iterable[Object], policies: Iterable[Object]) -> Iterator[tuple[str, str]]:
    """Yield addresses that strangers have too, and policies that do nothing or less than asked."""
    for service in sorted(services, key=key_of):
        found = _conditions(service).get(CONFLICT, {})
        if found.get("status") == "True":
            yield f"service {key_of(service)}", str(found.get("message"))
    for policy in sorted(policies, key=key_of):
        subject = f"L2 policy {key_of(policy).name}"
        conditions = _conditions(policy)
        if conditions.get(SELECTED, {}).get("status") == "False":
            yield subject, f"announces nothing: {conditions[SELECTED].get('message')}"
        if conditions.get(FINDINGS, {}).get("status") == "True":
            yield subject, str(conditions[FINDINGS].get("message"))


def _conditions(obj: Object) -> dict[str, Mapping[str, object]]:
    return {c["type"]: c for c in (obj.get("status") or {}).get("conditions") or ()}
