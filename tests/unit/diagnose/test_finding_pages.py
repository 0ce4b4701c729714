"""Registry and pages agree: every kind has its page, with text, and every page its kind."""

import ast
import re
from pathlib import Path

import pytest

from cairn.diagnose.finding import Kind
from cairn.diagnose.findings import BY_CODE, KINDS

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "findings"
SECTIONS = ("What it means", "How Cairn knows", "What causes it", "How to mend it", "Related")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_page(kind: Kind) -> None:
    text = (PAGES / f"{kind.code}.md").read_text()
    assert text.startswith(f"# {kind.code} {kind.name}: {kind.title}\n")
    assert "WRITE" not in text
    for section in SECTIONS:
        found = re.search(rf"^## {section}\n\n(.+)", text, re.MULTILINE)
        assert found, section
        assert len(found[1]) > 10
    assert kind.mend in text, "the page tells another way to mend it than the finding"


def test_no_page_is_of_no_kind() -> None:
    codes = {path.stem for path in PAGES.glob("CRN-*.md")}
    assert codes == BY_CODE.keys()


def test_index_names_every_kind() -> None:
    text = (PAGES / "README.md").read_text()
    for kind in KINDS:
        assert (
            f"| [{kind.code}]({kind.code}.md) | {kind.name} | {kind.weight.name.lower()} |" in text
        )


def test_every_word_of_lint_has_a_row() -> None:
    names = {kind.name for kind in KINDS}
    words = set()
    folders = (ROOT / "src/cairn/kube", ROOT / "src/cairn/diagnose/lint")
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Finding", "Found"):
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant):
                    words.add(str(first.value))
    assert len(words) > 30
    assert words <= names, words - names
