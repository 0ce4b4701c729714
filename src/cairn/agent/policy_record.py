"""Which rule has which number, in a file: for a new agent, and for who reads counters without one.

    RuleNumbers  <->  RUN/policy-rules.json: {"NUMBER": {"kind", "namespace", "name", "path"}}

Invariants  The file is replaced whole. Without it numbers are derived again, and differ only for
            rules whose numbers collide.
            What the maps do not name is left out.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from cairn.agent.policy_store import PolicyStore
from cairn.apply.policy_rules import RuleNumbers
from cairn.kube.policy.rule import PolicyRef, RuleRef

PAUSE_S = 1.0
RATIO = 50
"""A write of a second is followed by a pause of so many seconds at least."""

log = logging.getLogger("policy")


def load_rules(path: Path) -> dict[int, RuleRef]:
    """Return the rules by number; none if the file is not there or says nothing readable."""
    try:
        return {int(number): _ref(entry) for number, entry in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.error("%s is unreadable and made anew: %r", path, error)
        return {}


def save_rules(path: Path, rules: Mapping[int, RuleRef]) -> None:
    """Write the rules by number; raises OSError."""
    entries = {
        str(number): {
            "kind": ref.policy.kind,
            "namespace": ref.policy.namespace,
            "name": ref.policy.name,
            "path": ref.path,
        }
        for number, ref in rules.items()
    }
    aside = path.with_suffix(".new")
    aside.write_bytes(msgspec.json.encode(entries))
    os.replace(aside, path)


async def keep_records(
    path: Path, rules: RuleNumbers, named: Callable[[], Collection[int]], store: PolicyStore
) -> None:
    """Write what changed of rules and good policies, until cancelled.

    `named` tells which rules the maps name now.
    """
    said = ""
    took_s = 0.0
    while True:
        await asyncio.sleep(max(PAUSE_S, RATIO * took_s))
        start = time.monotonic()
        try:
            if rules.changed:
                rules.keep(named())
                rules.changed = False
                await asyncio.to_thread(save_rules, path, rules.refs())
            if store.waits:
                await asyncio.to_thread(store.flush)
            said = ""
        except OSError as error:
            rules.changed = True
            if str(error) != said:
                log.error("policies are not recorded for the next start: %s; trying again", error)
            said = str(error)
        took_s = time.monotonic() - start


def _ref(entry: Mapping[str, str]) -> RuleRef:
    policy = PolicyRef(entry["kind"], entry["namespace"], entry["name"])
    return RuleRef(policy, entry["path"])
