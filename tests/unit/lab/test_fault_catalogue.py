"""The catalogue of faults: each row can be read, found in the registry, and in the docs."""

from pathlib import Path

import pytest

from cairn.diagnose.findings import BY_CODE
from cairn.lab.breakages.catalogue import FAULTS
from cairn.lab.fault import Fault, usage
from cairn.lab.fault_list import finding_text, help_text

PAGE = (Path(__file__).parents[3] / "docs" / "faults.md").read_text()


def test_names_are_told_apart() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 70


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_row_is_whole_and_has_its_line_in_the_docs(fault: Fault) -> None:
    assert fault.help
    assert f" {fault.name}" in help_text()
    row = f"| `{usage(fault)}` | {fault.help} |"
    assert PAGE.count(row) == 1
    if fault.finding:
        assert fault.finding in BY_CODE
        assert f"{row} [{finding_text(fault)}](findings/{fault.finding}.md) |" in PAGE
        assert fault.clear is not None, "what is to be found lasts"
        assert fault.example, "a target for which it is found"
        assert bool(fault.value) == (len(fault.example.split()) > 1)
