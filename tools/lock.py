"""Write the lock files from what is installed: the closure of what the project asks for.

pyproject.toml, the virtual environment  ->  requirements.lock, requirements-dev.lock

.venv/bin/python tools/lock.py
"""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = re.compile(r"[A-Za-z0-9._-]+")


def closure(requirements: list[str]) -> dict[str, str]:
    """Return name and version of everything that `requirements` pull in, as installed here."""
    found: dict[str, str] = {}
    todo = list(requirements)
    while todo:
        text = todo.pop()
        requirement, _, marker = text.partition(";")
        match = NAME.match(requirement.strip())
        if match is None or "extra ==" in marker:
            continue
        name = re.sub(r"[-_.]+", "-", match[0]).lower()
        if name in found:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # for another system or Python
        found[name] = package.version
        todo += package.requires or []
    return found


def main() -> None:
    """Write both files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run = closure(project["dependencies"])
    develop = closure(project["optional-dependencies"]["dev"])
    write(ROOT / "requirements.lock", run)
    write(ROOT / "requirements-dev.lock", {n: v for n, v in develop.items() if n not in run})


def write(path: Path, packages: dict[str, str]) -> None:
    """Write one lock file, sorted."""
    path.write_text("".join(f"{name}=={packages[name]}\n" for name in sorted(packages)))


if __name__ == "__main__":
    main()
