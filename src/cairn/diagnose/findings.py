"""The registry of findings: everything that `cairn doctor` and `cairn why` can say is wrong.

    code or name  ->  Kind

Numbers go by area, a hundred each; of every hundred, 00 to 49 are found over the whole system and
50 to 79 on the way of one connection, 80 to 99 in manifests. A number is never used for anything
else.
"""

from cairn.diagnose.finding import Kind
from cairn.diagnose.kinds.addresses import ADDRESSES
from cairn.diagnose.kinds.bgp import BGP
from cairn.diagnose.kinds.dataplane import DATAPLANE
from cairn.diagnose.kinds.itself import ITSELF
from cairn.diagnose.kinds.names import NAMES
from cairn.diagnose.kinds.node import NODE
from cairn.diagnose.kinds.policy import POLICY
from cairn.diagnose.kinds.proxies import PROXIES
from cairn.diagnose.kinds.services import SERVICES
from cairn.diagnose.kinds.traps import TRAPS
from cairn.diagnose.kinds.walk import WALK

AREAS = {
    1: "addresses and pools",
    2: "BGP and router",
    3: "nodes",
    4: "data plane",
    5: "Services and pods",
    6: "policy",
    7: "DNS",
    8: "proxies and certificates",
    9: "Cairn itself",
}
"""What each hundred of codes is about."""

KINDS: tuple[Kind, ...] = tuple(
    sorted(
        (
            *ADDRESSES,
            *BGP,
            *NODE,
            *DATAPLANE,
            *SERVICES,
            *POLICY,
            *NAMES,
            *PROXIES,
            *ITSELF,
            *TRAPS,
            *WALK,
        ),
        key=lambda kind: kind.code,
    )
)
"""Every kind, by code."""

BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS}
BY_CODE: dict[str, Kind] = {kind.code: kind for kind in KINDS}


class UnknownKind(LookupError):
    """A word that is no code and no name of the registry."""


def kind_of(word: str) -> Kind:
    """Return the kind with this code or name, in any case; raises UnknownKind."""
    wanted = word.upper()
    for kind in KINDS:
        if wanted in (kind.code, kind.name.upper()):
            return kind
    raise UnknownKind(f"{word!r} is no code of a finding: cairn doctor --list shows them")
