"""What holds of every allocation: order is nothing, the record is all, nothing is used twice."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cairn.compile.ipam import IpamResult, compile_ipam
from cairn.compile.ipam_space import may_share
from cairn.kube.load_balancer import load_balancer_of
from cairn.kube.metadata import key_of
from cairn.kube.pool import pool_of
from cairn.net import parse_address

ADDRESSES = [f"{base}{i}" for base in ("10.0.0.", "fd00::") for i in range(10)]
FAMILIES = [["IPv4"], ["IPv6"], ["IPv4", "IPv6"], ["IPv6", "IPv4"]]
POLICIES = ["SingleStack", "PreferDualStack", "RequireDualStack"]
LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), max_size=2)

block = st.tuples(st.sampled_from(["10.0.0.", "fd00::"]), st.integers(0, 5), st.integers(0, 4)).map(
    lambda one: {"start": f"{one[0]}{one[1]}", "stop": f"{one[0]}{one[1] + one[2]}"}
)
pools = st.lists(
    st.fixed_dictionaries(
        {
            "blocks": st.lists(block, max_size=2),
            "serviceSelector": st.one_of(
                st.none(), LABELS.map(lambda found: {"matchLabels": found})
            ),
            "disabled": st.booleans(),
        }
    ),
    max_size=3,
).map(
    lambda specs: [
        {"metadata": {"name": f"p{i}", "creationTimestamp": str(i % 2)}, "spec": spec}
        for i, spec in enumerate(specs)
    ]
)
annotations = st.fixed_dictionaries(
    {},
    optional={
        "lbipam.cilium.io/ips": st.lists(
            st.sampled_from(ADDRESSES), min_size=1, max_size=2, unique=True
        ).map(",".join),
        "lbipam.cilium.io/sharing-key": st.sampled_from("kl"),
        "lbipam.cilium.io/sharing-cross-namespace": st.just("*"),
    },
)
one_service = st.fixed_dictionaries(
    {
        "annotations": annotations,
        "labels": LABELS,
        "created": st.sampled_from("123"),
        "namespace": st.sampled_from(["n", "m"]),
        "port": st.sampled_from([80, 443]),
        "held": st.lists(st.sampled_from(ADDRESSES), max_size=2),
        "families": st.sampled_from(FAMILIES),
        "policy": st.sampled_from(POLICIES),
        "type": st.sampled_from(["LoadBalancer", "LoadBalancer", "LoadBalancer", "ClusterIP"]),
    }
)
services = st.lists(one_service, max_size=10).map(
    lambda raws: [_service(i, raw) for i, raw in enumerate(raws)]
)


def _service(number: int, raw: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"s{number}",
            "namespace": raw["namespace"],
            "creationTimestamp": raw["created"],
            "labels": raw["labels"],
            "annotations": raw["annotations"],
        },
        "spec": {
            "type": raw["type"],
            "ports": [{"port": raw["port"]}],
            "ipFamilies": raw["families"],
            "ipFamilyPolicy": raw["policy"],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in raw["held"]]}},
    }


def run(some_pools: list[dict[str, Any]], some_services: list[dict[str, Any]]) -> IpamResult:
    return compile_ipam(map(pool_of, some_pools), map(load_balancer_of, some_services))


def recorded(objects: list[dict[str, Any]], result: IpamResult) -> list[dict[str, Any]]:
    """Return the Services with the result written into their status."""
    written = []
    for obj in objects:
        verdict = result.services.get(key_of(obj))
        ingress = [{"ip": ip} for ip in verdict.addresses] if verdict else []
        written.append({**obj, "status": {"loadBalancer": {"ingress": ingress}}})
    return written


@given(pools, services, st.randoms(use_true_random=False))
def test_order_does_not_matter(ps: list[Any], ss: list[Any], random: Any) -> None:
    expected = run(ps, ss)
    shuffled_pools, shuffled = list(ps), list(ss)
    random.shuffle(shuffled_pools)
    random.shuffle(shuffled)
    assert run(shuffled_pools, shuffled) == expected


@given(pools, services)
def test_what_was_given_stays(ps: list[Any], ss: list[Any]) -> None:
    first = run(ps, ss)
    second = run(ps, recorded(ss, first))
    for key, verdict in second.services.items():
        assert verdict.addresses == first.services[key].addresses


@given(pools, services, one_service)
def test_a_new_service_moves_nobody(ps: list[Any], ss: list[Any], raw: Any) -> None:
    first = run(ps, ss)
    newcomer = _service(99, {**raw, "held": []})
    second = run(ps, [*recorded(ss, first), newcomer])
    for key, verdict in first.services.items():
        if verdict.reason is not None:
            assert set(verdict.addresses) <= set(second.services[key].addresses)


@given(pools, services)
def test_nothing_is_used_twice_and_all_lies_in_a_pool(ps: list[Any], ss: list[Any]) -> None:
    result = run(ps, ss)
    views = {view.metadata.key: view for view in map(load_balancer_of, ss)}
    held: dict[str, list[Any]] = {}
    for key, verdict in result.services.items():
        for address in verdict.addresses:
            held.setdefault(address, []).append(views[key])
            found = parse_address(address)
            assert any(pool_of(pool).holds(found.version, int(found)) for pool in ps)
    for sharers in held.values():
        pairs = [(a, b) for i, a in enumerate(sharers) for b in sharers[i + 1 :]]
        assert all(may_share(a, b) for a, b in pairs)


@given(pools, services)
def test_each_family_is_wanted_and_required_ones_come_together(
    ps: list[Any], ss: list[Any]
) -> None:
    result = run(ps, ss)
    for view in map(load_balancer_of, ss):
        verdict = result.services.get(view.metadata.key)
        if verdict is None or not view.handled:
            continue
        versions = {parse_address(address).version for address in verdict.addresses}
        assert versions <= set(view.families)
        assert verdict.reason is not None
        if verdict.satisfied:
            assert versions == set(view.families) or (versions and view.optional)
        elif view.together and not view.held:
            assert not versions


@given(pools, services)
def test_counts_add_up(ps: list[Any], ss: list[Any]) -> None:
    for state in run(ps, ss).pools.values():
        assert 0 <= state.used <= state.total
        assert state.available >= 0
