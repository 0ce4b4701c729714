"""Every pair of nine pods, by every protocol, port and IP version, under each of the recipes.

What must get through is what the standards' texts say (tests/oracle); what gets through is seen by
real sockets, and what does not is seen as a drop that names the policy.
"""

from collections.abc import Iterator
from itertools import permutations, product
from pathlib import Path

import pytest
import yaml
from overlay_bed import Pod
from pod_probes import SCTP, TCP, UDP, Outcome, Probe, Probes
from policy_bed import PORTS, PolicyBed, policy_bed
from standards import PASSES, answer
from world import Answer, Object, Question

pytestmark = pytest.mark.root
RECIPES = sorted((Path(__file__).parents[1] / "oracle" / "recipes").glob("*.yaml"))
LEAST_RECIPES = 60


@pytest.fixture(scope="module")
def bed() -> Iterator[PolicyBed]:
    with policy_bed() as made:
        yield made


@pytest.fixture(scope="module")
def probes(bed: PolicyBed) -> Iterator[Probes]:
    made = Probes(bed.pods, bed.drops)
    yield made
    made.close()


def full_name(pod: Pod) -> str:
    """Return NAMESPACE/NAME."""
    return f"{pod.endpoint.namespace}/{pod.name}"


def everything(bed: PolicyBed) -> list[Probe]:
    """Return a probe for each pair, IP version, protocol and port."""
    return [
        Probe(one, other, f"{full_name(one)} to {full_name(other)}", version, protocol, port)
        for one, other in permutations(bed.pods, 2)
        for version, protocol, port in product((4, 6), (TCP, UDP, SCTP), PORTS)
    ]


def expected(bed: PolicyBed, probe: Probe) -> Answer:
    """Return what the texts say: of who sends, and if that lets it through of who is reached."""
    nodes = {pod.ns: node.station.name for node in bed.nodes for pod in node.station.pods}
    found = Answer("allow")
    for direction, subject, other in (
        ("egress", probe.source, probe.target),
        ("ingress", probe.target, probe.source),
    ):
        asked = Question(
            full_name(subject),
            direction,
            other.address(probe.version),
            probe.protocol,
            probe.port,
        )
        found = answer(bed.seen_by(nodes[subject.ns]), asked)
        if found.action not in PASSES:
            break
    return found


def wrong(bed: PolicyBed, outcome: Outcome, probes: list[Probe]) -> list[str]:
    """Return each probe that came to something else than the texts say."""
    found = []
    for probe in probes:
        said = expected(bed, probe)
        label = f"{probe.name}, IPv{probe.version}, protocol {probe.protocol}, port {probe.port}"
        if said.action in PASSES:
            if probe not in outcome.through:
                rule = outcome.dropped.get(probe, outcome.failed.get(probe, "no answer, no drop"))
                found.append(f"{label}: not through ({rule}); {said}")
            continue
        rule = outcome.dropped.get(probe)
        if probe in outcome.through:
            found.append(f"{label}: got through; {said}")
        elif rule is None or str(rule.policy) not in said.because:
            found.append(f"{label}: dropped by {rule}, not by {said}")
    return found


def read_recipe(path: Path) -> list[Object]:
    """Return the policies of a recipe."""
    return list(yaml.safe_load_all(path.read_text()))


def test_recipes_are_many() -> None:
    assert len(RECIPES) >= LEAST_RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_connections_are_what_the_texts_say(bed: PolicyBed, probes: Probes, path: Path) -> None:
    bed.enforce(read_recipe(path))
    asked = everything(bed)
    assert len(asked) == 9 * 8 * 2 * 3 * 2
    outcome = probes.ask(asked)
    found = wrong(bed, outcome, asked)
    assert not found, f"{len(found)} of {len(asked)}:\n" + "\n".join(found[:20])
