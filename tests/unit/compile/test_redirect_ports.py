"""Ports of redirects: listeners stay while their rules change, and nobody is held to too little."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cairn.abi.structs import PolicyAction
from cairn.compile.redirect_ports import RedirectPorts
from cairn.desired.policy import (
    DirectionPolicy,
    PortRange,
    Redirect,
    SubjectPolicy,
    Table,
    Verdict,
)
from cairn.kube.policy.rule import Direction, HttpRule

WEB = 1000
ALLOW = Verdict(PolicyAction.ALLOW, None)
CLOSED = Verdict(PolicyAction.DEFAULT_DENY, None)
GET, POST, PUT = (HttpRule(method=method) for method in ("GET", "POST", "PUT"))
EVERYTHING = HttpRule()
PORTS = range(15000, 15100)


def proxied(*rules: HttpRule, names: tuple[str, ...] = ()) -> Verdict:
    redirect = Redirect(http=rules, direction=Direction.INGRESS, server_names=names)
    return Verdict(PolicyAction.PROXY, None, redirect)


def policy(peers: dict[int, Verdict], rest: Verdict = CLOSED, identity: int = WEB) -> SubjectPolicy:
    """Return a policy with these verdicts at port 80."""

    def table(verdict: Verdict) -> Table:
        return Table(CLOSED, (PortRange(6, 80, 80, verdict),))

    tables = {peer: table(verdict) for peer, verdict in peers.items()}
    return SubjectPolicy(identity, ingress=DirectionPolicy(table(rest), tables))


def ports() -> RedirectPorts:
    return RedirectPorts(PORTS, last=PORTS.start - 1)


def redirect_of(verdict: Verdict) -> Redirect:
    assert verdict.redirect is not None
    return verdict.redirect


def rules_at(given_ports: RedirectPorts, port: int) -> tuple[HttpRule, ...] | None:
    return given_ports.slots[port].redirect.http


def test_rules_change_at_the_port_that_they_have() -> None:
    given_ports = ports()
    given_ports.follow(WEB, policy({1: proxied(GET), 2: proxied(GET)}))
    port = given_ports.port(WEB, redirect_of(proxied(GET)))
    given_ports.follow(WEB, policy({1: proxied(POST), 2: proxied(POST)}))
    assert given_ports.port(WEB, redirect_of(proxied(POST))) == port
    assert list(given_ports.slots) == [port]


def test_two_identities_share_no_port() -> None:
    given_ports = ports()
    for identity in (WEB, WEB + 1):
        given_ports.follow(identity, policy({1: proxied(GET)}, identity=identity))
    one, other = (given_ports.port(i, redirect_of(proxied(GET))) for i in (WEB, WEB + 1))
    assert one != other


def test_a_place_that_falls_apart_leaves_its_port_with_what_the_parts_share() -> None:
    given_ports = ports()
    given_ports.follow(WEB, policy({1: proxied(GET, POST), 2: proxied(GET, POST)}))
    old = given_ports.port(WEB, redirect_of(proxied(GET, POST)))
    given_ports.follow(WEB, policy({1: proxied(GET, PUT), 2: proxied(GET, POST)}))
    new = {given_ports.port(WEB, redirect_of(v)) for v in (proxied(GET, PUT), proxied(GET, POST))}
    assert old not in new
    assert len(new - {0}) == 2
    assert given_ports.slots[old].left
    assert rules_at(given_ports, old) == (GET,)


def test_what_is_allowed_whole_now_is_let_through_at_the_old_port() -> None:
    given_ports = ports()
    given_ports.follow(WEB, policy({1: proxied(GET)}))
    old = given_ports.port(WEB, redirect_of(proxied(GET)))
    for later in (policy({1: ALLOW}), SubjectPolicy(WEB)):
        given_ports.follow(WEB, later)
        assert rules_at(given_ports, old) == (EVERYTHING,)
        assert given_ports.slots[old].left
    given_ports.follow(WEB, policy({1: proxied(PUT)}))
    assert rules_at(given_ports, old) == (PUT,), "rules for those who never left"


def test_an_identity_that_is_nobodys_is_denied() -> None:
    given_ports = ports()
    given_ports.follow(WEB, policy({1: proxied(GET)}))
    given_ports.follow(WEB, None)
    assert [slot.redirect.http for slot in given_ports.slots.values()] == [()]


def test_an_end_that_gets_verdicts_of_its_own_is_held_to_them() -> None:
    given_ports = ports()
    given_ports.follow(WEB, policy({}, rest=proxied(GET, POST)))
    old = given_ports.port(WEB, redirect_of(proxied(GET, POST)))
    given_ports.follow(WEB, policy({7: proxied(POST)}, rest=proxied(GET, POST)))
    assert rules_at(given_ports, old) == (POST,)


def test_other_server_names_are_another_listener() -> None:
    given_ports = ports()
    given_ports.follow(WEB, policy({1: proxied(GET, names=("a.example",))}))
    given_ports.follow(WEB, policy({1: proxied(GET, names=("b.example",))}))
    assert [slot.left for slot in given_ports.slots.values()] == [True, False]


def test_no_port_is_given_twice_and_none_is_said() -> None:
    few = RedirectPorts(range(15000, 15002), last=14999)
    assert few.follow(WEB, policy({1: proxied(GET), 2: proxied(POST)}))
    assert not few.follow(WEB + 1, policy({1: proxied(GET)}, identity=WEB + 1))
    assert few.port(WEB + 1, redirect_of(proxied(GET))) == 0


VERDICTS = st.sampled_from(
    [ALLOW, CLOSED, *(proxied(*some) for some in ((GET,), (POST,), (GET, POST), (GET, PUT), ()))]
)
PEERS = st.dictionaries(st.integers(1, 4), VERDICTS, max_size=4)
POLICIES = st.lists(st.tuples(PEERS, VERDICTS), min_size=1, max_size=6)


@given(POLICIES)
def test_a_connection_that_stays_is_never_held_to_less_than_its_rules(
    history: list[tuple[dict[int, Verdict], Verdict]],
) -> None:
    given_ports = ports()
    connections: dict[int, set[int]] = {}
    for peers, rest in history:
        now = policy(peers, rest)
        assert given_ports.follow(WEB, now)
        assert now.ingress is not None
        for remote in range(1, 6):
            verdict = now.ingress.at(remote, 6, 80)
            for port in connections.get(remote, set()):
                held = given_ports.slots[port].redirect.http or ()
                if verdict.redirect is not None:
                    assert set(held) <= set(verdict.redirect.http or ())
            if verdict.redirect is not None:
                port = given_ports.port(WEB, verdict.redirect)
                assert given_ports.slots[port].redirect == verdict.redirect
                connections.setdefault(remote, set()).add(port)


def test_records_are_whole() -> None:
    given_ports = ports()
    given_ports.follow(WEB, policy({1: proxied(GET)}))
    slot = next(iter(given_ports.slots.values()))
    assert replace(slot) == slot
    assert slot.peers == {1}
