"""Recorded flows, judged by other policies.

flows, World as it is, World as it would be  ->  Replay(which connections change)

Invariants  Answers are passed over: a reply belongs to the connection that its other end opened.
            A pod that is gone is judged by the labels that the flow recorded.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from cairn.diagnose.policy.end import End, Kind
from cairn.diagnose.policy.ends import ENTITIES, entity, named_end, pod_end
from cairn.diagnose.policy.ends import at_address as end_at
from cairn.diagnose.policy.joint import Joint, judge
from cairn.diagnose.policy.layer7 import Request, parse_request
from cairn.diagnose.policy.miss import Place, same_name
from cairn.diagnose.policy.pod import would_be_pod
from cairn.diagnose.policy.stable import lasting_labels
from cairn.diagnose.policy.world import World
from cairn.flow.record import Flow, FlowEnd
from cairn.kube.metadata import Key
from cairn.kube.policy.rule import RESERVED
from cairn.net import Address

PASSED = ("FORWARDED", "REDIRECTED", "AUDIT", "ALLOWED")
"""Verdicts of flows that passed."""
_BY_NUMBER = {int(number): word for word, (_, number) in ENTITIES.items() if word != "world"}


@dataclass(slots=True)
class Row:
    """Flows of one kind."""

    sender: str
    """Who opened them."""
    receiver: str
    """Who was reached."""
    at: str
    """Protocol and port."""
    before: str
    """Verdict with the policies as they are."""
    after: str
    """Verdict with those as they would be."""
    rule: str
    """Which rule makes the difference."""
    flows: int = 0
    """How many there were."""


@dataclass(slots=True)
class Replay:
    """What other policies would have done."""

    rows: list[Row] = field(default_factory=list)
    """Flows that change, by kind; those that would be denied first."""
    judged: int = 0
    """How many flows were judged."""
    denied: int = 0
    """How many of them passed, and would not any more."""
    allowed: int = 0
    """How many did not, and would."""
    replies: int = 0
    """How many were answers, and passed over."""
    otherwise: int = 0
    """How many have another verdict today than was recorded: policies have changed since."""


class Replayer:
    """Ends and verdicts of one World, each worked out once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._ends: dict[object, End] = {}
        self._verdicts: dict[object, Joint] = {}

    def judge(self, flow: Flow) -> Joint:
        """Return what becomes of a flow."""
        sender = self.end(flow.source, flow.source_address)
        receiver = self.end(flow.destination, flow.destination_address, flow.names)
        request = _request(flow)
        key = (
            (sender.text, sender.identity, sender.node),
            (receiver.text, receiver.identity, receiver.selectors, receiver.node),
            (flow.protocol, flow.port),
            (request.method, request.path, request.host, request.dns),
        )
        if key not in self._verdicts:
            place = Place(flow.protocol, flow.port)
            self._verdicts[key] = judge(self.world, sender, receiver, place, request)
        return self._verdicts[key]

    def end(self, end: FlowEnd, address: Address, names: tuple[str, ...] = ()) -> End:
        """Return one end of a flow as this World has it."""
        labels = tuple(sorted(end.labels.items()))
        key = end.namespace, end.pod, labels, end.identity, address, names
        if key not in self._ends:
            self._ends[key] = self._find(end, address, names)
        return self._ends[key]

    def _find(self, end: FlowEnd, address: Address, names: tuple[str, ...]) -> End:
        world = self.world
        if end.namespace:
            return self._pod(end)
        word = _BY_NUMBER.get(end.identity, "")
        if not word.startswith("world"):
            for label in end.labels:
                plain = label.removeprefix(RESERVED)
                if label.startswith(RESERVED) and plain in ENTITIES and not word:
                    word = plain
        if word in ("host", "remote-node"):
            found = end_at(world, address)
            return found if found.kind is Kind.NODE else entity(word)
        if word and not word.startswith("world"):
            return entity(word)
        if names:
            first = named_end(world, names[0], address)
            numbers = tuple(
                number
                for peer, number in world.engine.selectors().items()
                if any(same_name(peer, name) for name in names)
            )
            return End(
                first.text,
                first.kind,
                first.identity,
                first.labels,
                address,
                dns_name=names[0],
                selectors=numbers,
            )
        return end_at(world, address)

    def _pod(self, end: FlowEnd) -> End:
        key = Key(end.namespace, end.pod)
        if key in self.world.pods:
            return pod_end(self.world, self.world.pods[key])
        labels = own_labels(end)
        for pod in self.world.pods.values():
            if pod.key.namespace == end.namespace and labels == lasting_labels(pod.workload.labels):
                return pod_end(self.world, pod)
        engine = self.world.engine
        if end.namespace not in self.world.namespaces:
            engine.put_namespace(end.namespace, {"kubernetes.io/metadata.name": end.namespace})
        spelt = ",".join(f"{k}={v}" for k, v in sorted(labels.items()))
        pod = would_be_pod(end.namespace, end.pod or spelt, labels)
        engine.put_pod(pod.workload)
        return pod_end(self.world, pod)


def own_labels(end: FlowEnd) -> dict[str, str]:
    """Return the labels of a flow's pod that its author gave it."""
    lent = ("io.kubernetes.", "io.cilium.", RESERVED)
    return {k: v for k, v in lasting_labels(end.labels).items() if not k.startswith(lent)}


def _request(flow: Flow) -> Request:
    if flow.http:
        return parse_request(f"{flow.http[0]} {flow.http[1]}")
    return Request(dns=flow.dns_query)


def replay(flows: Iterable[Flow], before: World, after: World) -> Replay:
    """Return which flows change their verdict."""
    now, then = Replayer(before), Replayer(after)
    found = Replay()
    rows: dict[tuple[str, ...], Row] = {}
    for flow in flows:
        if flow.is_reply:
            found.replies += flow.times
            continue
        found.judged += flow.times
        old, new = now.judge(flow), then.judge(flow)
        if old.allowed != (flow.verdict in PASSED):
            found.otherwise += flow.times
        if old.allowed == new.allowed:
            continue
        if new.allowed:
            found.allowed += flow.times
        else:
            found.denied += flow.times
        row = _row(then, flow, old, new)
        key = (row.sender, row.receiver, row.at, row.after, row.rule)
        rows.setdefault(key, row).flows += flow.times
    found.rows = sorted(rows.values(), key=lambda r: (r.after != "denied", -r.flows, r.sender))
    return found


def _row(replayer: Replayer, flow: Flow, old: Joint, new: Joint) -> Row:
    sender = replayer.end(flow.source, flow.source_address)
    receiver = replayer.end(flow.destination, flow.destination_address, flow.names)
    return Row(
        _called(replayer.world, sender, flow.source),
        _called(replayer.world, receiver, flow.destination),
        str(Place(flow.protocol, flow.port)).removeprefix("port "),
        old.word,
        new.word,
        new.rule_after(old),
    )


def _called(world: World, end: End, seen: FlowEnd) -> str:
    """Return what an end is called together with its likes."""
    if end.kind is not Kind.POD:
        return end.text
    pod = world.pods.get(Key(*end.text.split("/", 1)))
    workload = seen.workload.partition("/")[2]
    if workload:
        return f"{seen.namespace}/{workload}"
    return pod.group if pod is not None else end.text
