"""`cairn policy` and `cairn lint` from files: forms, exit status, one line for what is wrong."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from policy_cases import CLUSTER, cilium, plain

from cairn.cli.main import main
from cairn.cli.policy_used import UsedRow, read_page
from cairn.flow.record import Flow, read_flow, write_flow

ROOT = Path(__file__).parents[3]
TIERS = cilium(
    "endpointSelector: {matchLabels: {tier: database}}\n"
    "ingress:\n- fromEndpoints: [{matchLabels: {tier: web}}]\n"
    '  toPorts: [{ports: [{port: "5432", protocol: TCP}]}]',
    "tiers",
)
FLOW = {
    "time": "2026-01-01T00:00:00Z",
    "verdict": "FORWARDED",
    "IP": {"source": "10.244.1.9", "destination": "10.244.2.3"},
    "l4": {"TCP": {"destination_port": 5432}},
    "source": {"namespace": "default", "pod_name": "client", "labels": ["k8s:app=client"]},
    "destination": {"namespace": "production", "pod_name": "database"},
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with a cluster, a policy and a flow."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "all.yaml").write_text(yaml.safe_dump_all(CLUSTER))
    (tmp_path / "tiers.yaml").write_text(TIERS)
    (tmp_path / "flows.jsonl").write_text(json.dumps(FLOW) + "\nnot a flow\n")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = main(list(words))
    except SystemExit as ended:
        status = int(ended.code or 0)
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return status, said.out, said.err


HERE = ("--objects", "cluster")
BOTH = (*HERE, "--objects", "tiers.yaml")
TRACE = ("policy", "trace", "--to", "production/database", "--port", "5432", "--from")

# Command, exit status, something that it prints.
COMMANDS = [
    ((*TRACE, "production/web-app", *BOTH), 0, "passes"),
    ((*TRACE, "default/client", *BOTH), 1, "does not pass"),
    ((*TRACE, "default/nobody", *BOTH), 2, "no pod or workload nobody"),
    ((*TRACE, "default/client", "--objects", "nowhere"), 2, "nowhere: No such file"),
    ((*TRACE[:-1], "--port", "x", "--from", "default/client", *BOTH), 2, "is not 0 to 65535"),
    (("policy", "trace", "--from", "default/client", *BOTH), 2, "give --to and --port"),
    (("policy", "trace", "--from", "default/client", "--dns", "a.example", *BOTH), 0, "kube-dns"),
    (("policy", "get", *BOTH), 0, "tiers"),
    (("policy", "get", "tiers", *BOTH), 0, "pods with tier=web in namespace production"),
    (("policy", "get", "other", *BOTH), 1, "no policy other"),
    (("policy", "plan", "-f", "tiers.yaml", *HERE), 1, "default/client"),
    (("policy", "plan", "-f", "tiers.yaml", *BOTH), 0, "Connections that change: none"),
    (("policy", "plan", "-f", "tiers.yaml", "--delete", *BOTH), 1, "no policy isolates it"),
    (("policy", "replay", "-f", "tiers.yaml", "--flows", "flows.jsonl", *HERE), 1, "1 passed and"),
    (("policy", "replay", "-f", "tiers.yaml", "--flows", "nowhere", *HERE), 2, "nowhere: No such"),
    (
        ("policy", "replay", "-f", "tiers.yaml", "--flows", "flows.jsonl", "--since", "1h", *HERE),
        1,
        "0 flows judged",
    ),
    (("policy", "suggest", "--flows", "flows.jsonl", *HERE), 1, "# 1 flow from client"),
    (("policy", "apply", "-f", "tiers.yaml", "--try", "1s"), 2, "not between 2s and 7d"),
    (("lint", "tiers.yaml", "--offline"), 0, "nothing found"),
    (("lint", "nowhere.yaml", "--offline"), 2, "No such file"),
    (("lint", "--offline"), 2, "--offline needs files"),
    (("lint", "flows.jsonl", "--offline"), 2, "not YAML"),
    (("policy",), 2, "COMMAND"),
]


@pytest.mark.parametrize(("words", "status", "text"), COMMANDS)
def test_commands(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    status: int,
    text: str,
) -> None:
    code, out, err = run(capsys, *words)
    assert (code, text in out + err) == (status, True), out + err


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize(
    ("words", "key"),
    [
        ((*TRACE, "default/client", *BOTH), "sides"),
        (("policy", "get", *BOTH), "isolates"),
        (("policy", "suggest", "--flows", "flows.jsonl", *HERE), "spec"),
        (("lint", "closed.yaml", "--offline"), "code"),
    ],
)
def test_forms(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    form: str,
    words: tuple[str, ...],
    key: str,
) -> None:
    (files / "closed.yaml").write_text(plain("podSelector: {}\npolicyTypes: [Egress]"))
    _, out, _ = run(capsys, *words, "-o", form)
    found: list[dict[str, Any]] = json.loads(out) if form == "json" else yaml.safe_load(out)
    assert found
    assert all(key in item for item in found)


def test_lines_that_are_no_flows_are_told_of(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("policy", "replay", "-f", "tiers.yaml", "--flows", "flows.jsonl", *BOTH)
    code, out, err = run(capsys, *words)
    assert code == 1
    assert "1 line is no flow, and passed over; the first: flows.jsonl:2: not JSON" in err
    assert "1 has another verdict today than was recorded" in out


def test_without_a_cluster_files_are_linted_alone(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "config").write_text("")
    monkeypatch.setenv("KUBECONFIG", str(files / "config"))
    code, out, err = run(capsys, "lint", "tiers.yaml")
    assert (code, "looked at alone" in err) == (0, True), out + err


def test_counters_are_read_from_a_page_of_metrics() -> None:
    labels = 'kind="NetworkPolicy",namespace="a",name="p",rule="ingress[0]"'
    page = (
        "# TYPE cairn_policy_allowed counter\n"
        f"cairn_policy_allowed_total{{{labels}}} 7.0\n"
        "# TYPE cairn_policy_denied counter\n"
        f"cairn_policy_denied_total{{{labels}}} 2.0\n"
        "# TYPE cairn_policy_subjects_closed gauge\ncairn_policy_subjects_closed 0.0\n"
    )
    assert read_page(page) == [UsedRow("NetworkPolicy", "a", "p", "ingress[0]", 7, 2, 0)]


def test_every_code_of_lint_is_in_the_guide() -> None:
    source = ROOT / "src" / "cairn" / "diagnose" / "lint"
    guide = set(re.findall(r"[A-Za-z0-9]+", (ROOT / "docs" / "policy.md").read_text()))
    codes = {
        argument.value
        for path in source.glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in ("of", "Found")
        for argument in call.args[:2]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
    assert len(codes) > 30
    assert codes <= guide


def test_a_flow_is_its_own_line() -> None:
    flow = read_flow(json.dumps(FLOW))
    assert isinstance(flow, Flow)
    assert "\n" not in write_flow(flow)
