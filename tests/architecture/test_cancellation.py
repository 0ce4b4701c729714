"""A cancelled task ends: asyncio.wait_for may swallow the cancellation before Python 3.12."""

import ast
from pathlib import Path

import pytest
from layers import SOURCE, modules

MODULES = [pytest.param(path, id=str(path.relative_to(SOURCE))) for path in modules()]


@pytest.mark.parametrize("path", MODULES)
def test_waits_use_timeout(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found = (node.value.id, node.attr)
            assert found != ("asyncio", "wait_for"), f"line {node.lineno}: use asyncio.timeout"
