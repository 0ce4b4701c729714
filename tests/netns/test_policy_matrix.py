"""Every pair of nine pods and a stranger, by every protocol, port and IP version, by recipes.

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
from policy_bed import PORTS, PolicyBed, full_name, policy_bed
from standards import in_force, judged
from world import Answer, Object, Question, World

pytestmark = pytest.mark.root
RECIPES = sorted((Path(__file__).parents[1] / "oracle" / "recipes").glob("*.yaml"))
LEAST_RECIPES = 60
OPEN = {"allow-all-ingress", "disabled-policy"}
"""Recipes under which everything gets through."""


@pytest.fixture(scope="module")
def bed() -> Iterator[PolicyBed]:
    with policy_bed() as made:
        yield made


@pytest.fixture(scope="module")
def probes(bed: PolicyBed) -> Iterator[Probes]:
    made = Probes(bed.ends, bed.drops)
    yield made
    made.close()


def everything(bed: PolicyBed) -> list[Probe]:
    """Return a probe for each pair, IP version, protocol and port; one end may be outside."""
    return [
        Probe(one, other, f"{full_name(one)} to {full_name(other)}", version, protocol, port)
        for one, other in permutations(bed.ends, 2)
        for version, protocol, port in product((4, 6), (TCP, UDP, SCTP), PORTS)
    ]


def expected(worlds: dict[str, World], probe: Probe) -> Answer:
    """Return what the texts say: of who sends, and if that lets it through of who is reached."""
    found = Answer("allow")
    for direction, subject, other in (
        ("egress", probe.source, probe.target),
        ("ingress", probe.target, probe.source),
    ):
        if not isinstance(subject, Pod):
            continue
        asked = Question(
            full_name(subject),
            direction,
            other.address(probe.version),
            probe.protocol,
            probe.port,
        )
        found = judged(worlds[subject.ns], asked)
        if found.action != "allow":
            break
    return found


def wrong(bed: PolicyBed, outcome: Outcome, probes: list[Probe]) -> list[str]:
    """Return each probe that came to something else than the texts say.

    No proxy runs here: what one has to look at is dropped.
    """
    worlds = {pod.ns: in_force(bed.world_of(pod)) for pod in bed.pods}
    found = []
    for probe in probes:
        said = expected(worlds, probe)
        label = f"{probe.name}, IPv{probe.version}, protocol {probe.protocol}, port {probe.port}"
        if said.action == "allow":
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
    assert {path.stem for path in RECIPES} >= OPEN


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_connections_are_what_the_texts_say(bed: PolicyBed, probes: Probes, path: Path) -> None:
    bed.enforce(read_recipe(path))
    asked = everything(bed)
    assert len(asked) == 10 * 9 * 2 * 3 * 2
    outcome = probes.ask(asked)
    found = wrong(bed, outcome, asked)
    assert outcome.through
    assert bool(outcome.dropped) == (path.stem not in OPEN)
    assert not found, f"{len(found)} of {len(asked)}:\n" + "\n".join(found[:20])
