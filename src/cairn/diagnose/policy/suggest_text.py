"""Suggested policies as manifests, with comments that say what each rule is for.

Suggestions  ->  YAML
"""

from collections.abc import Iterable
from textwrap import indent
from typing import Any

import yaml

from cairn.diagnose.policy.suggest import SuggestedRule, Suggestion, policy_object, rule_of
from cairn.kube.policy.rule import Direction


def suggestions_text(suggestions: Iterable[Suggestion]) -> str:
    """Return all manifests as one YAML stream."""
    return "---\n".join(map(_manifest, suggestions))


def _manifest(suggestion: Suggestion) -> str:
    obj = policy_object(suggestion)
    spec = obj.pop("spec")
    head = {"endpointSelector": spec["endpointSelector"]}
    lines = [_dump(obj), "spec:\n", indent(_dump(head), "  ")]
    for direction in Direction:
        rules = [rule for rule in suggestion.rules if rule.direction is direction]
        lines.append(f"  {direction.value}:\n")
        if not rules:
            seen = "reach it" if direction is Direction.INGRESS else "be opened by it"
            lines.append(f"  # Nothing was seen to {seen}: closed.\n  - {{}}\n")
        for rule in rules:
            lines.append(f"  # {_comment(rule)}\n")
            lines.append(indent(_dump([rule_of(rule, suggestion.subject.namespace)]), "  "))
    return "".join(lines)


def _dump(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, default_flow_style=False)
    return text


def _comment(rule: SuggestedRule) -> str:
    count = f"{rule.flows} flow{'' if rule.flows == 1 else 's'}"
    titles = {"pod": "pods", "entity": "entities", "address": "addresses", "name": "names"}
    if len(rule.peers) == 1:
        who = rule.peers[0].title if rule.kind == "pod" else rule.peers[0].word
    else:
        who = f"{len(rule.peers)} {titles[rule.kind]}"
    way = "from" if rule.direction is Direction.INGRESS else "to"
    return f"{count} {way} {who}"
