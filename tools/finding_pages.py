"""Print the pages about findings that are missing, as skeletons, and the index of all.

registry, docs/findings  ->  missing pages on standard output; with --write: files and the index

A skeleton has a kind's own lines; what it means, how Cairn knows and what causes it are for people
to write: a page with WRITE in it does not pass the tests.
"""

import sys
from pathlib import Path

from cairn.diagnose.finding import Kind
from cairn.diagnose.findings import AREAS, KINDS

PAGES = Path(__file__).parents[1] / "docs" / "findings"
WRITE = "WRITE"


def page(kind: Kind, knows: str = WRITE, causes: str = WRITE) -> str:
    """Return the page of a kind."""
    return (
        f"# {kind.code} {kind.name}: {kind.title}\n\n"
        f"Weight: {kind.weight.name.lower()}. Area: {AREAS[kind.area]}.\n\n"
        f"## What it means\n\n{kind.about or WRITE}\n\n"
        f"It is told as: `{kind.cause}`\n\n"
        f"## How Cairn knows\n\n{knows}\n\n"
        f"## What causes it\n\n{causes}\n\n"
        f"## How to mend it\n\n`{kind.mend}`\n\n"
        f"## Related\n\n`cairn doctor --only {kind.code}` says whether it is still there.\n"
    )


def index() -> str:
    """Return the index of all pages."""
    lines = ["# Findings", "", "What `cairn doctor` and `cairn why` can find, by area."]
    for number, area in AREAS.items():
        lines += [
            "",
            f"## {number}xx {area}",
            "",
            "| code | name | weight | what |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| [{k.code}]({k.code}.md) | {k.name} | {k.weight.name.lower()} | {k.title} |"
            for k in KINDS
            if k.area == number
        ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Print what is missing, or write it."""
    missing = [kind for kind in KINDS if not (PAGES / f"{kind.code}.md").exists()]
    if "--write" in sys.argv:
        PAGES.mkdir(parents=True, exist_ok=True)
        for kind in missing:
            (PAGES / f"{kind.code}.md").write_text(page(kind))
        (PAGES / "README.md").write_text(index())
    for kind in missing:
        print(page(kind))


if __name__ == "__main__":
    main()
