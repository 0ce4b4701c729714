"""Plans: which connections change, what is cut off, and that nothing else is told."""

from policy_cases import cilium, pod, read, world

from cairn.diagnose.policy.plan import Change, Plan, digest, plan

CLOSED = cilium("endpointSelector: {}\ningress: [{}]\negress: [{}]")
DATABASE = cilium(
    "endpointSelector: {matchLabels: {tier: database}}\n"
    "ingress:\n- fromEndpoints: [{matchLabels: {tier: web}}]\n"
    '  toPorts: [{ports: [{port: "5432", protocol: TCP}]}]'
)


def planned(before: str, after: str) -> Plan:
    return plan(world(before), world(before).changed(read(after)))


def pairs(changes: tuple[Change, ...]) -> set[tuple[str, str, str, str]]:
    return {(c.sender, c.receiver, c.before, c.after) for c in changes}


def test_the_same_again_changes_nothing() -> None:
    assert planned(DATABASE, DATABASE) == Plan((), (), {})


def test_who_loses_the_database_and_who_keeps_it() -> None:
    found = planned("", DATABASE)
    changed = pairs(found.changes)
    assert ("production/nginx-ingress", "production/database", "allowed", "denied") in changed
    assert ("default/client", "production/database", "allowed", "denied") in changed
    assert ("world", "production/database", "allowed", "denied") in changed
    assert all(c.receiver == "production/database" for c in found.changes)
    assert not any(c.sender in ("production/web-app", "host") for c in found.changes)
    assert {c.at for c in found.changes} == {"5432/TCP"}
    assert {c.rule for c in found.changes} == {"CiliumNetworkPolicy/production/p default deny"}
    assert found.cut_off == ()


def test_deleting_is_the_other_way_round() -> None:
    closed = world(DATABASE)
    opened = closed.changed((), read(DATABASE))
    found = plan(closed, opened)
    changed = pairs(found.changes)
    assert ("default/client", "production/database", "denied", "allowed") in changed
    assert {c.rule for c in found.changes} == {"no policy isolates it any more"}


def test_what_everybody_needs_comes_first() -> None:
    found = planned("", CLOSED)
    cut = {(c.sender, c.receiver) for c in found.cut_off}
    for name in ("web-app", "database", "nginx-ingress"):
        assert (f"production/{name}", "cluster DNS") in cut
        assert (f"production/{name}", "API server") in cut
    assert not any(c.sender == "kubelet's probes" for c in found.cut_off)
    told = {(c.sender, c.receiver) for c in found.changes}
    assert not told & {(s, r) for s, r in cut if r == "API server"}


def test_a_rule_for_requests_is_a_change() -> None:
    rules = cilium(
        "endpointSelector: {matchLabels: {tier: web}}\n"
        "ingress:\n- fromEntities: [all]\n"
        '  toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET}]}}]'
    )
    found = planned("", rules)
    client = next(c for c in found.changes if c.sender == "default/client")
    assert (client.before, client.after) == ("allowed", "allowed: HTTP GET any path")


def test_networks_and_names_stand_beside_the_world() -> None:
    egress = cilium(
        "endpointSelector: {matchLabels: {tier: web}}\n"
        "egress:\n- toCIDRSet: [{cidr: 192.0.2.0/24, except: [192.0.2.0/25]}]\n"
        "- toFQDNs: [{matchName: api.github.com}]"
    )
    found = planned("", egress)
    denied = {c.receiver for c in found.changes if c.after == "denied"}
    assert {"world", "192.0.2.0/25"} <= denied
    assert not denied & {"192.0.2.0/24", "api.github.com"}


def test_a_new_pod_is_judged_in_both_worlds() -> None:
    newcomer = pod("production/job", "10.244.1.77", {"tier": "database"}, 9000)
    before = world(DATABASE)
    found = plan(before, before.changed([newcomer]))
    assert found == Plan((), (), {})
    both = plan(world(), world().changed([newcomer, *read(DATABASE)]))
    assert ("default/client", "production/job", "allowed", "denied") in pairs(both.changes)


def test_a_policy_that_cannot_be_read_is_told_of() -> None:
    broken = DATABASE.replace('"5432"', '"70000"')
    found = planned("", broken)
    assert found.changes == ()
    (reason,) = found.invalid.values()
    assert "toPorts[0].ports[0].port" in reason


def test_very_many_changes_are_told_together() -> None:
    changes = tuple(
        Change(f"a/{sender}", f"b/{receiver}", "80/TCP", "allowed", "denied", "R")
        for sender in range(9)
        for receiver in range(5)
    )
    assert digest(changes, 45) == changes
    (one,) = digest(changes, 44)
    assert (one.sender, one.receiver) == ("a/0, a/1 and 7 more", "b/0, b/1 and 3 more")
