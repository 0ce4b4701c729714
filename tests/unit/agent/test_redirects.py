"""Ports of proxies: who has which, when a verdict may name it, when it goes."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cairn.abi.structs import PolicyAction
from cairn.agent import redirects as module
from cairn.agent.redirects import Redirects
from cairn.cli.report_sockets import ask_proxies
from cairn.desired.policy import (
    DirectionPolicy,
    PortRange,
    Redirect,
    SubjectPolicy,
    Table,
    Verdict,
)
from cairn.kube.policy.rule import DnsRule, FqdnPeer, HttpRule, PolicyRef, RuleRef

GET, PUT = (Redirect(http=(HttpRule(method=method),)) for method in ("GET", "PUT"))
NAMES = Redirect(dns=(DnsRule("a.example"),))
WEB, API = 1000, 1001
RULE = RuleRef(PolicyRef("CiliumNetworkPolicy", "default", "web"), "ingress[0].toPorts[0]")


class RequestProxy:
    """Serves when it is let."""

    def __init__(self) -> None:
        self.asked: list[dict[int, Redirect]] = []
        self.leaving: list[dict[int, Redirect]] = []
        self.owners: Mapping[int, Collection[RuleRef]] = {}
        self.let = asyncio.Event()
        self.let.set()

    async def serve(
        self,
        redirects: Mapping[int, Redirect],
        *,
        leaving: Mapping[int, Redirect] | None = None,
        owners: Mapping[int, Collection[RuleRef]] | None = None,
    ) -> None:
        self.asked.append(dict(redirects))
        self.leaving.append(dict(leaving or {}))
        self.owners = owners or {}
        await self.let.wait()


class NameProxy:
    """Serves names, or fails."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[int, Redirect], dict[FqdnPeer, int]]] = []
        self.fails = ""

    async def serve(
        self, redirects: Mapping[int, Redirect], selectors: Mapping[FqdnPeer, int]
    ) -> None:
        self.asked.append((dict(redirects), dict(selectors)))
        if self.fails:
            raise OSError(self.fails)


class Bed:
    def __init__(self, path: Path) -> None:
        self.said: list[str] = []
        self.redirects = Redirects(path, absent=self.said.append, ports=range(15000, 15004))
        self.requests = self.redirects.requests = RequestProxy()
        self.names = self.redirects.names = NameProxy()

    def follow(self, identity: int, *redirects: Redirect) -> list[int]:
        """Have an identity's policy name redirects, at one port each; return their ports."""
        verdicts = [Verdict(PolicyAction.PROXY, RULE, redirect) for redirect in redirects]
        ranges = (PortRange(6, 80 + n, 80 + n, verdict) for n, verdict in enumerate(verdicts))
        closed = Verdict(PolicyAction.DEFAULT_DENY, RULE)
        policy = SubjectPolicy(identity, egress=DirectionPolicy(Table(closed, tuple(ranges))))
        self.redirects.follow(identity, policy)
        return [self.redirects.port(identity, redirect, RULE) for redirect in redirects]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.redirects.run())
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def until_ready(self, *wanted: Redirect) -> None:
        async with asyncio.timeout(10):
            while not all(self.redirects.ready(WEB, redirect) for redirect in wanted):
                await asyncio.sleep(0.001)


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path / "redirects.json")


async def test_a_port_is_ready_once_it_is_served(bed: Bed) -> None:
    bed.requests.let.clear()
    (port,) = bed.follow(WEB, GET)
    assert bed.redirects.port(WEB, GET) == port
    async with bed.running():
        async with asyncio.timeout(10):
            while not bed.requests.asked:
                await asyncio.sleep(0.001)
        assert not bed.redirects.ready(WEB, GET)
        bed.requests.let.set()
        await bed.until_ready(GET)
    assert bed.requests.asked == [{port: GET}]
    assert list(bed.requests.owners[port]) == [RULE]
    assert bed.names.asked == [], "nobody wants it"


async def test_rules_that_change_keep_their_port_and_are_served_anew(bed: Bed) -> None:
    before = bed.follow(WEB, GET)
    async with bed.running():
        await bed.until_ready(GET)
        assert bed.follow(WEB, PUT) == before
        assert not bed.redirects.ready(WEB, PUT)
        await bed.until_ready(PUT)
    assert bed.requests.asked[-1] == {before[0]: PUT}


async def test_requests_and_names_have_proxies_of_their_own(bed: Bed) -> None:
    get, names = bed.follow(WEB, GET, NAMES)
    bed.redirects.learn_for({FqdnPeer("a.example"): 1 << 25})
    async with bed.running():
        await bed.until_ready(GET, NAMES)
    assert bed.requests.asked == [{get: GET}]
    assert bed.names.asked == [({names: NAMES}, {FqdnPeer("a.example"): 1 << 25})]
    assert bed.said == [""]


async def test_a_proxy_that_is_away_is_said_and_nothing_else_waits(bed: Bed) -> None:
    bed.names.fails = "DNS proxy does not answer"
    bed.follow(WEB, NAMES)
    async with bed.running():
        await bed.until_ready(NAMES)
        assert bed.said == ["DNS proxy does not answer"]
        bed.names.fails = ""
        bed.follow(WEB, NAMES, GET)
        await bed.until_ready(GET)
        assert bed.said[-1] == ""


async def test_a_proxy_that_hangs_is_not_waited_for_long(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    bed.requests.let.clear()
    bed.follow(WEB, GET)
    async with bed.running():
        await bed.until_ready(GET)
        bed.requests.let.set()
    assert bed.said == ["a proxy takes too long"]


async def test_ports_survive_in_their_file(bed: Bed, tmp_path: Path) -> None:
    ports = bed.follow(WEB, GET, NAMES)
    async with bed.running():
        await bed.until_ready(GET, NAMES)
    again = Bed(tmp_path / "redirects.json")
    (other,) = again.follow(API, PUT)
    assert again.follow(WEB, GET, NAMES) == ports
    assert other not in ports
    (tmp_path / "redirects.json").write_text("{")
    assert Bed(tmp_path / "redirects.json").follow(WEB, PUT)[0] in range(15000, 15004)


async def test_what_is_unused_leaves_and_its_port_is_not_given_at_once(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNUSED_S", 0.0)
    (get,), (put,) = bed.follow(WEB, GET), bed.follow(API, PUT)
    async with bed.running():
        await bed.until_ready(GET)
        bed.follow(API)
        assert bed.redirects.settling
        bed.redirects.retain({get})
        async with asyncio.timeout(10):
            while put not in bed.requests.leaving[-1]:
                await asyncio.sleep(0.001)
    assert bed.requests.asked[-1] == {get: GET}
    assert not bed.redirects.settling
    assert bed.follow(API, PUT)[0] not in (get, put)


async def test_without_a_port_a_redirect_leads_nowhere(bed: Bed) -> None:
    servers = [Redirect(server_names=(f"{number}.example",)) for number in range(4)]
    assert all(bed.follow(WEB, *servers))
    assert bed.follow(API, GET) == [0]
    assert bed.redirects.ready(API, GET)
    assert bed.said == ["all 4 ports of proxies are taken"]


async def test_a_report_tells_by_the_file_what_needs_which_proxy(bed: Bed, tmp_path: Path) -> None:
    bed.follow(WEB, GET, PUT, NAMES)
    async with bed.running():
        await bed.until_ready(GET, PUT, NAMES)
    (tmp_path / "proxy").mkdir()
    (tmp_path / "proxy" / "bootstrap.json").touch()
    needed = {fact.name: fact.needed for fact in ask_proxies(tmp_path)}
    assert needed == {"dns": 1, "envoy": 2}


async def test_what_was_left_needs_no_proxy_any_more(bed: Bed, tmp_path: Path) -> None:
    bed.follow(WEB, NAMES)
    bed.follow(API, NAMES)
    async with bed.running():
        await bed.until_ready(NAMES)
        bed.follow(API)
        async with asyncio.timeout(10):
            while [fact.needed for fact in ask_proxies(tmp_path)] != [1]:
                await asyncio.sleep(0.001)
