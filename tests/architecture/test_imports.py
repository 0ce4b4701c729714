"""Imports point down, stand at the top, and effects have an address."""

import ast
from pathlib import Path

import pytest
from layers import FREE_LAYER, LAYERS, RESERVED, SOURCE, modules, package_of

MODULES = [pytest.param(path, id=str(path.relative_to(SOURCE))) for path in modules()]


def imported_names(tree: ast.AST) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names.append(node.module or "")
    return names


def test_every_package_has_a_layer() -> None:
    packages = {p for path in modules() if (p := package_of(path))}
    assert packages <= set(LAYERS), f"no layer for {packages - set(LAYERS)}"


@pytest.mark.parametrize("path", MODULES)
def test_imports_point_down(path: Path) -> None:
    package = package_of(path)
    if package is None:
        return
    for name in imported_names(ast.parse(path.read_text())):
        if not name.startswith("cairn."):
            continue
        other = name.split(".")[1]
        if other in LAYERS and other != package:
            assert LAYERS[other] < LAYERS[package], f"{package} imports {other}: not below it"


@pytest.mark.parametrize("path", MODULES)
def test_no_import_inside_a_function_and_no_type_checking(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not inner, f"line {node.lineno}: import inside {node.name}"
        if isinstance(node, ast.Name):
            assert node.id != "TYPE_CHECKING", f"line {node.lineno}: TYPE_CHECKING"


@pytest.mark.parametrize("path", MODULES)
def test_effects_have_an_address(path: Path) -> None:
    package = package_of(path)
    if package is None:
        return
    for name in imported_names(ast.parse(path.read_text())):
        top = name.split(".")[0]
        allowed = RESERVED.get(top)
        if allowed is None or package in allowed:
            continue
        free = LAYERS[package] >= FREE_LAYER and top != "ctypes"
        assert free, f"{package} imports {top}: only {sorted(allowed)} may"
