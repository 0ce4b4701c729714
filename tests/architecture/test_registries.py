"""Registries are whole: none has shrunk, and every module beside a table is in it."""

from collections.abc import Sized

import pytest
from layers import SOURCE

from cairn.apiserver.builtin import BUILTIN
from cairn.bgp.attribute import table as attributes
from cairn.bgp.capability import table as capabilities
from cairn.bgp.nlri import table as families
from cairn.cli.main import COMMANDS
from cairn.kube import crds
from cairn.lab.breakages.catalogue import FAULTS
from cairn.lab.images import table as images

FLOORS: dict[str, tuple[Sized, int]] = {
    "path attributes": (attributes.ALL, 16),
    "capabilities": (capabilities.ALL, 6),
    "address families": (families.ALL, 2),
    "builtin kinds": (BUILTIN, 20),
    "custom resources": (crds.load(), 16),
    "lab images": (images.ALL, 8),
    "commands": (COMMANDS, 10),
    "faults": (FAULTS, 40),
}
FRAME = {"__init__", "table", "kind", "attributes", "collection"}


@pytest.mark.parametrize("name", FLOORS)
def test_registry_is_whole(name: str) -> None:
    registry, floor = FLOORS[name]
    assert len(registry) >= floor


@pytest.mark.parametrize("folder", ["bgp/attribute", "bgp/capability", "bgp/nlri"])
def test_every_module_beside_a_table_is_in_it(folder: str) -> None:
    table = (SOURCE / folder / "table.py").read_text()
    missing = [
        path.stem
        for path in sorted((SOURCE / folder).glob("*.py"))
        if path.stem not in FRAME and path.stem not in table
    ]
    assert missing == []
