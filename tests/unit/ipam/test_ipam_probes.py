"""Addresses in the nodes' subnet: probed before they are given, strangers skipped and named."""

from typing import Any

from test_ipam_table import addresses, pool, reason, run, service, verdict

from cairn.compile.ipam import IpamResult
from cairn.compile.ipam_proof import Proof, slots_of, spans_of
from cairn.compile.ipam_space import spell
from cairn.net import parse_address, parse_network

POOL = pool("p", blocks=[{"start": "192.168.1.100", "stop": "192.168.1.103"}])
AWAY = pool("away", blocks=[{"cidr": "10.0.0.0/24"}])
MAC = "02:00:00:00:00:63"


def proof(*, free: str = "", unproven: str = "", stranger: str = "", stale: str = "") -> Proof:
    def slots(text: str) -> frozenset[tuple[int, int]]:
        return slots_of(parse_address(word) for word in text.split())

    return Proof(
        spans=spans_of([parse_network("192.168.1.0/24")]),
        free=slots(free),
        unproven=slots(unproven),
        strangers=dict.fromkeys(sorted(slots(stranger) | slots(stale)), MAC),
        stale=slots(stale),
    )


def due(result: IpamResult) -> list[str]:
    return [spell(slot) for slot in result.due]


def given(name: str, address: str, message: str, **more: Any) -> dict[str, Any]:
    obj: dict[str, Any] = service(name, held=(address,), **more)
    obj["status"]["conditions"] = [
        {
            "type": "cilium.io/IPAMRequestSatisfied",
            "status": "True",
            "reason": "satisfied",
            "message": message,
        }
    ]
    return obj


def test_a_new_service_waits_for_the_probe_and_says_nothing_meanwhile() -> None:
    result = run([POOL], [service("a"), service("b")], proof=proof())
    assert result.services == {}
    assert due(result) == ["192.168.1.100", "192.168.1.101"]
    result = run([POOL], [service("a"), service("b")], proof=proof(free="192.168.1.100"))
    assert addresses(result, "a") == [("192.168.1.100",)]
    assert due(result) == ["192.168.1.101"]
    assert reason(result, "a") == ("satisfied", "192.168.1.100 from pool p")


def test_what_is_held_is_never_probed_nor_moved() -> None:
    held = service("a", held=("192.168.1.100",))
    result = run([POOL], [held], proof=proof(stranger="192.168.1.100"))
    assert addresses(result, "a") == [("192.168.1.100",)]
    assert due(result) == []


def test_an_address_outside_every_subnet_needs_no_probe() -> None:
    result = run([AWAY], [service("a")], proof=proof())
    assert addresses(result, "a") == [("10.0.0.0",)]
    assert run([POOL], [service("a")]).due == ()


def test_a_stranger_is_skipped_and_named_and_stays_named() -> None:
    known = proof(free="192.168.1.101", stranger="192.168.1.100")
    result = run([POOL], [service("a")], proof=known)
    assert addresses(result, "a") == [("192.168.1.101",)]
    message = reason(result, "a")[1]
    assert message == (
        "192.168.1.101 from pool p; skipped: 192.168.1.100 is answered for by "
        f"{MAC}, which is no node of this cluster"
    )
    finding = next(f for f in result.pools["p"].findings if f.reason == "StrangersAddress")
    assert f"192.168.1.100 is answered for by {MAC}" in finding.message
    # The next pass knows of no stranger any more: what was told when it was given stands.
    later = run([POOL], [given("a", "192.168.1.101", message)], proof=proof())
    assert reason(later, "a") == ("satisfied", message)
    assert verdict(later, "a").notices == ()


def test_a_stranger_that_was_not_asked_for_lately_is_asked_again() -> None:
    result = run([POOL], [service("a")], proof=proof(stale="192.168.1.100"))
    assert result.services == {}
    assert due(result) == ["192.168.1.100"]
    assert any(f.reason == "StrangersAddress" for f in result.pools["p"].findings)


def test_an_address_asked_for_by_name_that_a_stranger_has_is_refused_with_its_mac() -> None:
    wanted = service("a", annotations={"lbipam.cilium.io/ips": "192.168.1.102"})
    assert due(run([POOL], [wanted], proof=proof())) == ["192.168.1.102"]
    result = run([POOL], [wanted], proof=proof(stranger="192.168.1.102"))
    assert addresses(result, "a") == [()]
    code, message = reason(result, "a")
    assert code == "already_allocated"
    assert f"192.168.1.102 is answered for by {MAC}" in message


def test_what_no_node_could_probe_is_given_and_said() -> None:
    result = run([POOL], [service("a")], proof=proof(unproven="192.168.1.100"))
    assert addresses(result, "a") == [("192.168.1.100",)]
    assert reason(result, "a")[1] == (
        "192.168.1.100 from pool p; not probed: 192.168.1.100, as no node of its subnet answered "
        "in time"
    )


def test_a_pool_that_strangers_fill_says_so() -> None:
    strangers = "192.168.1.100 192.168.1.101 192.168.1.102 192.168.1.103"
    result = run([POOL], [service("a")], proof=proof(stranger=strangers))
    code, message = reason(result, "a")
    assert code == "out_of_ips"
    assert "4 answered for by strangers" in message


def test_services_that_share_an_address_wait_for_it_together() -> None:
    sharing = {"lbipam.cilium.io/sharing-key": "k"}
    both = [
        service("a", annotations=sharing, ports=[{"port": 80}]),
        service("b", annotations=sharing, ports=[{"port": 443}]),
    ]
    assert run([POOL], both, proof=proof()).services == {}
    result = run([POOL], both, proof=proof(free="192.168.1.100"))
    assert addresses(result, "a", "b") == [("192.168.1.100",)] * 2
