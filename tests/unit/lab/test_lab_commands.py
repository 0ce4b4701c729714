"""`cairn lab …` as typed: exit statuses, forms of output, names of pods."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cairn.lab import entry, state
from cairn.lab.entry import choose_pod
from cairn.lab.main import main
from cairn.lab.state import Lab, LabError, WrongUsage, save_lab

PODS = {
    "default/my-web-app-jpwhbtpc9-aaaaa": False,
    "default/my-web-app-jpwhbtpc9-bbbbb": True,
    "default/my-web-app-jpwhbtpc9-ccccc": True,
    "default/my-web-app-extra-fxnqjbtp9-ddddd": True,
    "default/plain": True,
    "kube-system/cairn-7b4vz": True,
    "kube-system/cairn-operator-xtsh4b474-zzzzz": True,
}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The record of a lab with some pods, below a folder of the test."""
    monkeypatch.setattr(state, "RUN_ROOT", tmp_path)
    made = Lab("one", router="frr")
    save_lab(made)
    for name, ready in PODS.items():
        namespace, _, pod = name.partition("/")
        path = made.pod_record(namespace, pod)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"netns": "", "pids": {"web": 1}, "ready": ready}))
    return made


@pytest.mark.parametrize(
    ("typed", "chosen"),
    [
        ("pod/default/my-web-app-jpwhbtpc9-aaaaa", "pod/default/my-web-app-jpwhbtpc9-aaaaa"),
        ("pod/default/my-web-app", "pod/default/my-web-app-jpwhbtpc9-bbbbb"),
        ("pod/default/my-web-app-extra", "pod/default/my-web-app-extra-fxnqjbtp9-ddddd"),
        ("pod/kube-system/cairn", "pod/kube-system/cairn-7b4vz"),
        ("pod/kube-system/cairn-op", "pod/kube-system/cairn-operator-xtsh4b474-zzzzz"),
        ("pod/default/pla", "pod/default/plain"),
    ],
)
def test_a_workloads_name_means_its_first_ready_pod(lab: Lab, typed: str, chosen: str) -> None:
    assert choose_pod(lab, typed) == chosen


def test_what_names_no_pod_is_said(lab: Lab) -> None:
    with pytest.raises(LabError, match="is the beginning of .*aaaaa, .*; name one"):
        choose_pod(lab, "pod/default/my")
    with pytest.raises(LabError, match="no pod/default/none runs in lab one; running: .*plain"):
        choose_pod(lab, "pod/default/none")
    with pytest.raises(WrongUsage, match="write pod/NAMESPACE/NAME"):
        choose_pod(lab, "pod/plain")


def test_the_pod_that_was_chosen_is_said(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    path = lab.pod_record("kube-system", "cairn-7b4vz")
    path.write_text(json.dumps({"pids": {}, "ready": True}))
    with pytest.raises(LabError, match="pod/kube-system/cairn-7b4vz runs no process"):
        entry.run_in_pod(lab, "pod/kube-system/cairn", ["true"], {})
    assert capsys.readouterr().err == "cairn lab exec: pod/kube-system/cairn-7b4vz\n"


def test_list_in_every_form(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    save_lab(replace(lab, name="two", nodes=(1,)))
    assert main(["list"]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "NODES", "ROUTER", "KUBECONFIG"]
    assert first.split() == ["one", "3", "frr", str(lab.kubeconfig)]
    assert second.split()[:2] == ["two", "1"]
    assert main(["list", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in told] == ["one", "two"]
    assert main(["list", "-o", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == told


@pytest.mark.root
def test_faults_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fault", "list", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"fault": "partition HOST"}.items() <= told[1].items()
    assert main(["fault", "list", "-o", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == told


@pytest.mark.root
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["exec", "pod/plain", "--", "true"], "write pod/NAMESPACE/NAME"),
        (["exec", "router"], "usage: cairn lab exec"),
        (["list", "--name", "Not-A-Name"], "use 1 to 15 lower-case letters"),
        (["fault", "list", "extra"], "takes no 'extra'"),
        (["fault", "nonsense", "node-1"], "no fault 'nonsense'; there are: link-down"),
        (["fault", "loss", "node-1", "200"], "use 1 to 100"),
        (["fault", "pause"], "usage: cairn lab fault pause HOST"),
        (["node", "remove"], "cairn lab node remove NODE"),
        (["node", "add", "node-9"], "usage: cairn lab node add"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_two(
    lab: Lab, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    at = ["--name", lab.name] if "--name" not in words else []
    assert main([words[0], *at, *words[1:]]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_what_argparse_refuses_ends_with_two_as_well() -> None:
    for words in (["nonsense"], [], ["status", "-o", "xml"], ["up", "--nodes", "0"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
