"""Every module begins with a card: what it is, and its arrow."""

import ast
from pathlib import Path

import pytest
from layers import SOURCE, modules

# Where octets are read or written, the card says by which document.
CODECS = (
    "bgp/framing.py",
    "bgp/message/*.py",
    "bgp/attribute/*.py",
    "bgp/capability/*.py",
    "bgp/nlri/*.py",
    "dns/*.py",
    "lab/kubelet/spdy.py",
    "lab/kubelet/websocket.py",
    "apiserver/http.py",
    "apiserver/protobuf.py",
    "netlink/route.py",
    "netlink/socket.py",
)
NO_CODEC = {"__init__.py", "table.py", "kind.py", "collection.py", "attributes.py"}
CODEC_MODULES = [
    pytest.param(path, id=str(path.relative_to(SOURCE)))
    for pattern in CODECS
    for path in sorted(SOURCE.glob(pattern))
    if path.name not in NO_CODEC
]

MODULES = [pytest.param(path, id=str(path.relative_to(SOURCE))) for path in modules()]


@pytest.mark.parametrize("path", MODULES)
def test_module_has_a_card(path: Path) -> None:
    card = ast.get_docstring(ast.parse(path.read_text()))
    assert card, "no module docstring"
    assert len(card.splitlines()[0]) >= 20, "the first line does not say what the module is"


@pytest.mark.parametrize("path", MODULES)
def test_card_has_an_arrow(path: Path) -> None:
    card = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert "->" in card, "the card does not show what goes in and what comes out"


@pytest.mark.parametrize("path", CODEC_MODULES)
def test_codec_names_its_standards(path: Path) -> None:
    card = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert "Standards " in card, "the card does not say which document the octets follow"


def test_every_pattern_finds_codecs() -> None:
    assert [pattern for pattern in CODECS if not list(SOURCE.glob(pattern))] == []
