"""What somebody wrote: everything that `cairn lint` finds on live objects, as findings.

Facts  ->  findings by lint's own words
"""

from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.facts import Facts
from cairn.diagnose.finding import Weight
from cairn.diagnose.findings import BY_NAME
from cairn.diagnose.lint.found import Found
from cairn.diagnose.lint.lint import lint
from cairn.diagnose.policy.world import World

OTHER = {
    Weight.ERROR: "ProtectionMissing",
    Weight.WARNING: "NotInForce",
    Weight.NOTE: "NotInForce",
}
"""Kinds for words that come from tables of what other systems know: by their weight."""


def check_written(facts: Facts, bench: Bench) -> None:
    """Objects do what their author meant."""
    objects = [obj for listed in facts.cluster.objects.values() for obj in listed]
    world = World.of(objects)
    bench.looked(len(objects))
    for found in lint(world.objects.values(), world):
        name = kind_name(found)
        where = f"{found.path}: " if found.path else ""
        bench.found(name, found.subject, f"{where}{found.code}",
                    reason=found.message, what=found.subject.replace("/", " ", 1))  # fmt: skip


def kind_name(found: Found) -> str:
    """Return the name of the kind that a finding of lint is."""
    return found.code if found.code in BY_NAME else OTHER[found.weight]
