"""The engine against a naive reading of the same objects, and against itself in other orders."""

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policy_world import (
    NODE,
    NODES,
    OUTSIDE,
    PORTS,
    Naive,
    Objects,
    Remote,
    Said,
    fill,
    objects,
    steps,
)

from cairn.abi.structs import Identity, PolicyAction
from cairn.compile.policy import Engine
from cairn.desired.policy import SubjectPolicy, Verdict
from cairn.kube.policy.rule import Direction, FqdnPeer, Tier
from cairn.kube.policy.workload import Workload
from cairn.net import Network, parse_address

CASES = settings(
    max_examples=int(os.environ.get("CAIRN_POLICY_CASES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def local_subjects(engine: Engine, cluster: Objects) -> list[tuple[Workload | None, SubjectPolicy]]:
    """Return the own node and its pods, with the policy of each of their identities."""
    found: list[tuple[Workload | None, SubjectPolicy]] = [(None, engine.policy_of(1))]
    for pod in cluster.pods:
        if pod.node == NODE:
            identities = {engine.identity_at(address) for address in pod.addresses}
            assert engine.identity_of(pod.key) in identities
            found += [(pod, engine.policy_of(identity)) for identity in identities]
    return found


def verdict(
    policy: SubjectPolicy, way: Direction, remote: int, place: tuple[int, int], *names: int
) -> Verdict:
    """Return the compiled verdict."""
    direction = policy.ingress if way is Direction.INGRESS else policy.egress
    if direction is None:
        return Verdict(PolicyAction.ALLOW, None)
    return direction.at(remote, *place, names)


def remotes(cluster: Objects) -> list[Remote]:
    """Return every other end that matters."""
    texts = (*OUTSIDE, *NODES.values())
    inside = [address for pod in cluster.pods for address in pod.addresses]
    return [Remote(address) for address in (*map(parse_address, texts), *inside)]


@CASES
@given(objects())
def test_every_verdict_is_what_the_rules_say(cluster: Objects) -> None:
    engine = fill(Engine(NODE), cluster)
    enforced, audited = Naive(cluster), Naive(cluster, audit=True)
    for pod, policy in local_subjects(engine, cluster):
        for way in Direction:
            for remote in remotes(cluster):
                for place in PORTS:
                    found = verdict(policy, way, engine.identity_at(remote.address), place)
                    said = enforced.says(pod, way, remote, *place)
                    context = (pod and pod.key, way, remote.address, place)
                    assert Said(found.action, found.rule, found.redirect) == said, context
                    other = audited.says(pod, way, remote, *place)
                    if found.audit is None:
                        assert other.allows == said.allows, context
                    elif other.rule is not None:
                        assert found.audit == (other.action, other.rule), context


NAMES = (FqdnPeer(name="example.org"), FqdnPeer(pattern="*.example.org"))


@CASES
@given(objects(names=True), st.frozensets(st.sampled_from(NAMES)))
def test_names_open_what_they_say_and_never_more(
    cluster: Objects, learnt: frozenset[FqdnPeer]
) -> None:
    engine = fill(Engine(NODE), cluster)
    naive = Naive(cluster)
    selectors = engine.selectors()
    numbers = [selectors[name] for name in learnt if name in selectors]
    for pod, policy in local_subjects(engine, cluster):
        chosen = naive.chosen(pod)
        tiers = {
            p.tier for p in chosen for r in p.rules for x in r.peers if isinstance(x, FqdnPeer)
        }
        for address in OUTSIDE:
            remote = Remote(parse_address(address), learnt)
            identity = engine.identity_at(remote.address)
            for place in PORTS:
                found = verdict(policy, Direction.EGRESS, identity, place, *numbers)
                said = naive.says(pod, Direction.EGRESS, remote, *place)
                if tiers <= {Tier.NORMAL}:
                    assert found.allows == said.allows, (pod, address, place)
                else:
                    assert said.allows or not found.allows, (pod, address, place)


def answers(engine: Engine) -> dict[str, Any]:
    """Return all that an engine says."""
    return {
        "identities": dict(engine.identities()),
        "selectors": engine.selectors(),
        "policies": {number: engine.policy_of(number) for number in engine.subjects()},
        "labels": {n: dict(engine.labels_of(n)) for n in set(engine.identities().values())},
        "rates": {number: engine.rates(number) for number in engine.subjects()},
    }


@CASES
@given(objects(names=True), st.data())
def test_the_order_does_not_matter(cluster: Objects, data: st.DataObject) -> None:
    order = data.draw(st.permutations(steps(cluster)))
    engine = Engine(NODE)
    for place, step in enumerate(order):
        step(engine)
        if place % 3 == 0:
            answers(engine)
    assert answers(engine) == answers(fill(Engine(NODE), cluster))


@CASES
@given(objects(names=True), objects(names=True), st.booleans())
def test_what_changed_is_as_if_it_had_been_so_from_the_start(
    before: Objects, after: Objects, ask: bool
) -> None:
    engine = fill(Engine(NODE), before)
    if ask:
        answers(engine)
    become(engine, before, after)
    assert answers(engine) == answers(fill(Engine(NODE), after))


@CASES
@given(objects(names=True), objects(names=True))
def test_changes_name_everything_that_is_not_as_it_was(before: Objects, after: Objects) -> None:
    engine = fill(Engine(NODE), before)
    was, identities = answers(engine), dict(engine.identities())
    pods = {pod.key: engine.identity_of(pod.key) for pod in before.pods}
    engine.changes()
    assert not engine.changes()
    become(engine, before, after)
    changes = engine.changes()
    now = answers(engine)
    assert not engine.changes()
    assert changes.gone == was["policies"].keys() - now["policies"].keys()
    for number, policy in now["policies"].items():
        assert number in changes.subjects or policy == was["policies"].get(number)
    assert changes.subjects <= now["policies"].keys()
    networks: dict[Network, int] = now["identities"]
    for network in identities.keys() | networks.keys():
        assert network in changes.networks or identities.get(network) == networks.get(network)
    found = {pod.key: engine.identity_of(pod.key) for pod in after.pods}
    for key in pods.keys() | found.keys():
        assert key in changes.pods or pods.get(key) == found.get(key)


def become(engine: Engine, before: Objects, after: Objects) -> None:
    """Turn the cluster that an engine knows into another one."""
    for pod in before.pods:
        if pod.key not in {other.key for other in after.pods}:
            engine.drop_pod(pod.key)
    for policy in before.policies:
        if policy.ref not in {other.ref for other in after.policies}:
            engine.drop_policy(policy.ref)
    fill(engine, after)


@CASES
@given(objects(names=True), objects(names=True))
def test_nothing_stays_of_what_is_gone(base: Objects, guest: Objects) -> None:
    """Objects that come and go again leave the engine as it was, and what it holds of them none."""
    engine = fill(Engine(NODE), base)
    was = answers(engine)
    engine.changes()
    for policy in guest.policies:
        engine.put_policy(policy)
    for pod in guest.pods:
        engine.put_pod(pod)
    answers(engine)
    become(engine, guest, base)
    assert answers(engine) == was
    everything_gone = Objects(nodes=base.nodes)
    become(engine, base, everything_gone)
    for name in base.namespaces:
        engine.drop_namespace(name)
    for name in base.nodes:
        engine.drop_node(name)
    for group in base.groups:
        engine.drop_group(group.metadata.name)
    for service, _ in base.services:
        engine.drop_service(service.key)
    engine.put_apiserver(())
    assert answers(engine) == answers(Engine(NODE))


@CASES
@given(objects(most=0), objects(most=0))
def test_identities_depend_on_what_they_stand_for_alone(one: Objects, two: Objects) -> None:
    """Equal labels and ports are one number, in whichever cluster; others are another."""
    numbers: dict[object, int] = {}
    for cluster in (one, two):
        engine, naive = fill(Engine(NODE), cluster), Naive(cluster)
        for pod in cluster.pods:
            number = engine.identity_of(pod.key)
            what = (tuple(sorted(naive.flat(pod).items())), pod.ports)
            assert numbers.setdefault(what, number) == number
            assert Identity.WORLD_IPV6 < number < 1 << 24
            assert engine.labels_of(number) == naive.flat(pod)
    assert len(set(numbers.values())) == len(numbers)


@CASES
@given(objects(most=1))
def test_an_engine_of_no_node_has_every_pod_as_a_subject(cluster: Objects) -> None:
    engine = fill(Engine(), cluster)
    assert {engine.identity_of(pod.key) for pod in cluster.pods} <= engine.subjects()
    assert engine.policy_of(1) == SubjectPolicy(1)
    assert 1 not in engine.identities().values()
