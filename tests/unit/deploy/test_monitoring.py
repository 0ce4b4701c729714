"""Alert rules, scrape configurations and dashboards, judged without a cluster."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_lines import check_command

from cairn.diagnose.findings import BY_CODE

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
SUFFIX = re.compile(r"_(bucket|sum|count)$")


def promtool(*words: str) -> None:
    done = subprocess.run(["promtool", *words], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    text = (PROMETHEUS / "rules" / "cairn.rules.yaml").read_text()
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def commands_in(description: str) -> list[str]:
    """Return the commands that a description says to run, with words in the places of values."""
    told = re.search(r"\bRun(?: on the router)?: (.+)", description)
    assert told, description
    text = re.sub(r"\{\{ \$\w+(\.\w+)? \}\}", "192.168.1.100", told[1])
    commands = [part.strip().removeprefix("on the router: ") for part in re.split(r"[;|]", text)]
    return [command.replace("client 192", "client-1 192") for command in commands]


def documented() -> set[str]:
    text = (ROOT / "docs" / "metrics.md").read_text()
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


def names_in(expression: str) -> set[str]:
    return {SUFFIX.sub("", name) for name in re.findall(r"\b(?:cairn|process)_\w+", expression)}


def test_promtool_understands_the_rules() -> None:
    promtool("check", "rules", str(PROMETHEUS / "rules" / "cairn.rules.yaml"))


def test_every_rule_fires_and_none_does_when_all_is_well() -> None:
    promtool("test", "rules", str(PROMETHEUS / "tests" / "cairn.test.yaml"))


def test_every_rule_has_a_test() -> None:
    tests = yaml.safe_load((PROMETHEUS / "tests" / "cairn.test.yaml").read_text())["tests"]
    fired = {
        case["alertname"] for one in tests for case in one["alert_rule_test"] if case["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in rules()}


def test_promtool_understands_the_configuration() -> None:
    promtool("check", "config", str(PROMETHEUS / "prometheus.yaml"))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_says_what_a_person_needs(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    code = rule["labels"]["finding"]
    assert code == "none" or code in BY_CODE
    notes = rule["annotations"]
    page = notes["runbook_url"]
    assert code == "none" or page == f"docs/findings/{code}.md"
    assert (ROOT / page).is_file()
    for line in commands_in(notes["description"]):
        check_command(line)
    known = {name for name in names_in(rule["expr"]) if name != "cairn_"}
    assert known <= documented() or rule["alert"] == "CairnCertificateEnds"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"] == path.stem
    assert board["title"]
    assert board["schemaVersion"] >= 36
    (link,) = [one["url"] for one in board["links"] if one["type"] == "link"]
    assert (ROOT / link).is_file()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids) >= 4
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, f"{panel['title']} overlaps another panel"
        taken |= cells
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert names_in(target["expr"]) <= documented() | {"cairn"}, panel["title"]
