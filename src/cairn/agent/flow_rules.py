"""Which rule sent a request or a lookup to the proxy that judged it.

    Engine, learnt names  ->  Asked  ->  Decision

Why         a proxy knows the rules of a listener, not whose they are: equal ones share it
Cost        a policy's tables are looked up; observe.flow_records asks once a second for each kind
            of connection
"""

from cairn.abi.structs import PolicyAction
from cairn.agent.flow_ends import Sources, decision_of
from cairn.compile.policy.engine import Engine
from cairn.dns.pattern import Selection
from cairn.flow.address import read_octets
from cairn.flow.columns import Decision
from cairn.kube.policy.rule import FqdnPeer
from cairn.net import Address
from cairn.observe.flow_records import Asked


class FlowRules:
    """Rules of this node's pods."""

    def __init__(self, sources: Sources) -> None:
        self._engine: Engine = sources.engine
        self._names = sources.names
        self._known: dict[FqdnPeer, int] = {}
        self._selection = Selection(())

    def decision(self, asked: Asked) -> Decision | None:
        """Return the rule that redirects; None if none does, or not any more."""
        engine, address = self._engine, read_octets(asked.peer)
        peer = engine.identity_at(address)
        try:
            policy = engine.policy_of(asked.subject)
        except KeyError:
            return None
        way = policy.ingress if asked.ingress else policy.egress
        if way is None:
            return None
        names = () if asked.ingress else self._selectors(address)
        verdict = way.at(peer, asked.protocol, asked.port, names)
        if verdict.rule is None or verdict.action is not PolicyAction.PROXY:
            return None
        return decision_of(verdict.rule)

    def _selectors(self, address: Address) -> tuple[int, ...]:
        """Return the selectors of names that mean an address, as its names are known here."""
        names = self._names(address)
        if not names:
            return ()
        known = self._engine.selectors()
        if known != self._known:
            self._known = dict(known)
            self._selection = Selection((p.name, p.pattern, n) for p, n in known.items())
        return tuple({number for name in names for number in self._selection.of(name)})
