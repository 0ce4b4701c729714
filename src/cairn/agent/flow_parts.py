"""The node's flows, put together: what they are read from, and who names their ends and rules.

DataPlane, Policies, Cluster, Upkeep  ->  Flows
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from cairn.agent.cluster import Cluster
from cairn.agent.drop_log import DropLog
from cairn.agent.flow_ends import FlowEnds, Sources, decision_of
from cairn.agent.flow_names import LearntNames
from cairn.agent.flow_rules import FlowRules
from cairn.agent.flows import Flows
from cairn.agent.options import Options
from cairn.agent.policies import Policies
from cairn.agent.upkeep import Upkeep
from cairn.apply.data_plane import DataPlane
from cairn.apply.kernel_watch import KernelWatch
from cairn.flow.address import Records
from cairn.flow.columns import Decision
from cairn.observe.flow_records import FlowRecords


@dataclass(frozen=True, slots=True)
class FlowSources:
    """Where flows come from."""

    data_plane: DataPlane
    """Events, and the node's interfaces."""
    policies: Policies
    """Rules and identities; requests that the HTTP proxy judged."""
    cluster: Cluster
    """Services and nodes."""
    upkeep: Upkeep
    """Connections that ended."""


def make_flows(sources: FlowSources, node: str, options: Options) -> Flows:
    """Return the flows of `node`; its sources are told to hand over what they see."""
    policies, cluster, names = sources.policies, sources.cluster, LearntNames()
    known = Sources(policies.engine, cluster.services, cluster.nodes, names.of)
    ends = FlowEnds(known)

    def decision(number: int) -> Decision | None:
        ref = policies.rules.ref(number)
        return None if ref is None else decision_of(ref)

    flows = Flows(
        sources.data_plane.maps,
        FlowRecords(node, ends.known, decision, FlowRules(known).decision),
        ends,
        names,
        drops=DropLog(policies.names),
        capacity=options.flows,
        kernel=KernelWatch(sources.data_plane),
    )
    policies.requests.on_requests = flows.take_requests
    if options.events:
        loop = asyncio.get_running_loop()
        sources.upkeep.on_closed = lambda events: _hand(loop, flows.take_events, events)
    return flows


def _hand(
    loop: asyncio.AbstractEventLoop, take: Callable[[Records], None], events: Records
) -> None:
    """Have the loop's thread take some events."""
    loop.call_soon_threadsafe(take, events)
