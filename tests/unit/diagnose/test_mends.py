"""What mends a finding is a command that exists, written as it must be."""

import re
from collections.abc import Callable

import pytest
from command_lines import check_command

from cairn.diagnose.finding import Kind
from cairn.diagnose.findings import KINDS

SAID = "{mend}"
"""Kinds whose walk says what to do, where it is found."""
WORDS = {"port": "80", "right": "8080", "payload": "1472", "setting": "net.ipv4.ip_forward",
         "label": "app=web", "where": "192.168.1.100:80", "map": "services", "twice": "1000",
         "what": "service web", "other_mtu": "1500"}  # fmt: skip
"""What stands for a value where a word alone would not do."""
ADDRESSES = ("address", "peer", "api", "client", "target", "prefix")
FIXED = [kind for kind in KINDS if kind.mend != SAID]


def example(kind: Kind) -> str:
    """Return the command of a kind, with values in its places."""

    def fill(place: re.Match[str]) -> str:
        name = place[1]
        return WORDS.get(name) or ("192.168.1.10" if name in ADDRESSES else name.replace("_", "-"))

    return re.sub(r"\{(\w+)\}", fill, kind.mend.partition(" (")[0])


@pytest.mark.parametrize("kind", FIXED, ids=lambda kind: kind.code)
def test_a_mend_is_a_command_that_exists(kind: Kind) -> None:
    assert "\n" not in kind.mend
    check_command(example(kind))


def test_what_only_a_walk_can_say_stays_rare() -> None:
    assert len(KINDS) - len(FIXED) <= 7


@pytest.mark.parametrize(
    "line",
    ["cairn docktor", "cairn doctor --only", "cairn doctor --area kitchen", "cairn why client-1",
     "cairn flows --since yesterday", "cairn flows --protocol dns", "cairn lab exec router ip a",
     "cairn lab exec router -- bgpctl show weather", "kubectl get pdos", "kubectl mend pods",
     "kubectl logs ds/cairn --tial=20", "tracert 192.168.1.1", ""],
)  # fmt: skip
@pytest.mark.parametrize("judge", [check_command])
def test_a_line_that_does_not_exist_is_found(judge: Callable[[str], None], line: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        judge(line)
