"""The rate limits of policies, written where the data plane looks for them.

    limits of this node's pods, frontends that lead to them  ->  map `policy_rates`, the XDP program

Order       entries before the flag by which programs look, the flag's end before they go.
Cost        nothing while no policy of the node's pods has a limit
Not here    Where a limit is looked for (compile.policy_rates), how it is kept (bpf/lib/rate.h).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from cairn.abi.structs import PolicyRate, RateFlag
from cairn.abi.structs import RateAt as RateAtKey
from cairn.agent.early_drops import EarlyDrops
from cairn.apply.map_content import apply_content
from cairn.apply.policy_rules import RuleNumbers
from cairn.compile.policy.engine import Engine, Rate
from cairn.compile.policy_rates import Limit, RateAt, RatedPorts, compile_rates
from cairn.desired.endpoint import PodEndpoint
from cairn.desired.load_balancer import LbState
from cairn.desired.policy import SubjectPolicy
from cairn.kube.metadata import Key
from cairn.kube.policy.rule import RuleRef
from cairn.libbpf import Map
from cairn.net import Address, Protocol

_NO_RULE = 0


class PolicyRates:
    """The limits of one node."""

    def __init__(
        self,
        engine: Engine,
        rules: RuleNumbers,
        maps: Mapping[str, Map],
        early: EarlyDrops,
        *,
        wired: Callable[[], Mapping[Key, PodEndpoint]],
        frontends: Callable[[], LbState],
        nodes: Sequence[Address],
        on_change: Callable[[], None],
    ) -> None:
        """`on_change` is called when XDP may be needed, or needed no longer."""
        self._engine = engine
        self._rules = rules
        self._map = maps["policy_rates"]
        self._early = early
        self._wired = wired
        self._frontends = frontends
        self._nodes = nodes
        self._on_change = on_change
        self._limits: dict[RateAt, Limit] | None = None

    def apply(self) -> list[str]:
        """Make the limits what policies and Services say now; return what failed."""
        rated = tuple(self._rated())
        limits = compile_rates(rated, self._frontends(), self._nodes) if rated else {}
        if limits == self._limits:
            return []
        self._limits = limits
        if not limits:
            self._early.set_policy_rates(on=False)
        content = dict(self._entry(at, limit) for at, limit in limits.items())
        failed = apply_content(self._map, content)
        if limits:
            self._early.set_policy_rates(on=True)
        if failed:
            self._limits = None  # again next time
        self._on_change()
        return failed

    def _rated(self) -> Iterator[RatedPorts]:
        subjects = self._engine.subjects()
        for endpoint in self._wired().values():
            for address in endpoint.addresses:
                identity = self._engine.identity_at(address)
                if identity not in subjects:
                    continue
                for rate in self._engine.rates(identity):
                    yield from _ports_of(address, rate, self._engine.policy_of(identity))

    def _entry(self, at: RateAt, limit: Limit) -> tuple[bytes, bytes]:
        where = at.where
        key = RateAtKey(where.address, at.remote, where.port, where.protocol)
        flags = RateFlag.BY_REMOTE if limit.by_remote else RateFlag(0)
        if limit.limit is None or limit.rule is None:
            return key.write(), PolicyRate(_NO_RULE, 0, 0, flags).write()
        if limit.limit.total:
            flags |= RateFlag.TOTAL
        number = self._rules.number(limit.rule)
        rate = PolicyRate(number, limit.limit.per_second, limit.limit.burst, flags)
        return key.write(), rate.write()


def _ports_of(address: Address, rate: Rate, policy: SubjectPolicy) -> Iterator[RatedPorts]:
    """Yield the limit at one pod: for everyone, or for those whom its rule lets in."""
    number, first, last, limit, rule = rate
    protocols = (Protocol(number),) if number else (Protocol.TCP, Protocol.UDP)
    for protocol in protocols:
        yield RatedPorts(
            addresses=(address,),
            protocol=protocol,
            first=first,
            last=last,
            limit=limit,
            rule=rule,
            remotes=_remotes(policy, protocol, first, rule),
        )


def _remotes(
    policy: SubjectPolicy, protocol: int, port: int, rule: RuleRef
) -> frozenset[int] | None:
    """Return who is let in by the rule; None: everyone whom no other rule lets in."""
    ingress = policy.ingress
    if ingress is None or ingress.rest.at(protocol, port).rule == rule:
        return None
    return frozenset(
        remote for remote, table in ingress.peers.items() if table.at(protocol, port).rule == rule
    )
