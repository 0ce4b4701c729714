"""All that an apply would change: addresses, announcements, sessions, verdicts, proxies.

World, objects of files  ->  Effect
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cairn.diagnose.plan.addresses import AddressChange, address_changes, settled
from cairn.diagnose.plan.announcements import (
    AnnouncementChange,
    SessionChange,
    announced_later,
    announcement_changes,
    announcing,
    session_changes,
)
from cairn.diagnose.plan.applied import applied
from cairn.diagnose.plan.proxies import ProxyChange, proxy_changes
from cairn.diagnose.policy.plan import Change, plan
from cairn.diagnose.policy.world import World, name_of
from cairn.kube.metadata import Object


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object of the files."""

    object: str
    """Kind, namespace and name."""
    what: str
    """`created`, `changed`, `unchanged`, `deleted`, `absent`."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What changes."""

    objects: tuple[ObjectChange, ...]
    """What happens to the objects themselves."""
    invalid: dict[str, str]
    """Policies that would not be enforced, and why."""
    addresses: tuple[AddressChange, ...]
    """Load-balancer addresses."""
    announcements: tuple[AnnouncementChange, ...]
    """Prefixes whose nodes differ."""
    sessions: tuple[SessionChange, ...]
    """Nodes whose BGP neighbors differ."""
    ignored: tuple[str, ...]
    """What the nodes' speakers would newly not honour."""
    cut_off: tuple[Change, ...]
    """What nearly everybody needs, and some lose."""
    verdicts: tuple[Change, ...]
    """Other connections whose verdict changes."""
    proxies: tuple[ProxyChange, ...]
    """Workloads whose way through a proxy differs."""

    @property
    def changes_something(self) -> bool:
        """Whether the network would differ."""
        return any(
            (
                self.invalid,
                self.addresses,
                self.announcements,
                self.sessions,
                self.ignored,
                self.cut_off,
                self.verdicts,
                self.proxies,
            )
        )


def effect(world: World, given: Iterable[Object], *, delete: bool = False) -> Effect:
    """Return what applying (or deleting) the objects changes."""
    objects = list(given)
    after = world.changed((), objects) if delete else applied(world, objects)
    # What stands is compared as it would settle by itself, so that a plan tells of the files alone.
    before_settled, stood = settled(world)
    after_settled, verdicts = settled(after)
    before_bgp, after_bgp = announcing(before_settled), announcing(after_settled)
    policies = plan(world, after)
    later = announced_later(before_settled, after_settled)
    return Effect(
        tuple(_object_change(world, after, obj, delete=delete) for obj in objects),
        dict(policies.invalid),
        tuple(address_changes(world, verdicts, stood)),
        tuple(announcement_changes(before_bgp, after_bgp, later)),
        tuple(session_changes(before_bgp, after_bgp)),
        tuple(
            f"{node}: {line}"
            for node, lines in sorted(after_bgp.ignored.items())
            for line in lines
            if line not in before_bgp.ignored.get(node, ())
        ),
        policies.cut_off,
        policies.changes,
        tuple(proxy_changes(world, after)),
    )


def _object_change(before: World, after: World, obj: Object, *, delete: bool) -> ObjectChange:
    name = name_of(obj)
    old, new = before.objects.get(name), after.objects.get(name)
    if delete:
        what = "deleted" if old else "absent"
    elif old is None:
        what = "created"
    else:
        what = "unchanged" if _spec(old) == _spec(new or {}) else "changed"
    place = f"{name.namespace}/{name.name}" if name.namespace else name.name
    return ObjectChange(f"{name.kind} {place}", what)


def _spec(obj: Object) -> Object:
    metadata = obj.get("metadata") or {}
    kept = {"labels": metadata.get("labels") or {}, "annotations": _own(metadata)}
    return {k: v for k, v in obj.items() if k not in ("metadata", "status", "apiVersion")} | kept


def _own(metadata: Object) -> Object:
    """Return the annotations that no tool wrote about its own work."""
    given = metadata.get("annotations") or {}
    return {k: v for k, v in given.items() if not k.startswith("kubectl.kubernetes.io/")}
