"""A lab's record, its names, its catalogue of faults, and the command line's bad input."""

from pathlib import Path

import pytest

from cairn.diagnose.findings import KINDS
from cairn.lab import commands, faults, state
from cairn.lab.breakages.catalogue import FAULTS
from cairn.lab.entry import pod_reference
from cairn.lab.keeper import exit_text
from cairn.lab.preflight import kernel_version
from cairn.lab.process_record import (
    Life,
    Process,
    life_from_json,
    life_to_json,
    process_from_json,
    process_to_json,
)
from cairn.lab.state import Lab, LabError, check_name, load_lab, write_whole
from cairn.linux.process import Identity


@pytest.mark.parametrize("name", ["home", "a", "lab2", "ct123abc"])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "Home", "a-b", "1lab", "../x", "a" * 16, "a b"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="lower-case"):
        check_name(name)


def test_no_labs_names_are_the_prefix_of_anothers() -> None:
    names = [check_name(name) for name in ("home", "home2", "hom")]
    prefixes = [Lab(name).netns_prefix for name in names]
    for one in prefixes:
        assert [other for other in prefixes if other.startswith(one)] == [one]


@pytest.mark.parametrize("record", ["{", "[]", '{"nodes": [1]}'])
def test_a_record_that_cannot_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: str
) -> None:
    monkeypatch.setattr(state, "RUN_ROOT", tmp_path)
    write_whole(tmp_path / "x" / "lab.json", record)
    with pytest.raises(LabError, match=r"lab\.json: .*; run `cairn lab down --name x`"):
        load_lab("x")


def test_process_and_life_round_trip() -> None:
    process = Process("api", "control-plane", ("cairn", "api"), {"A": "1"}, "frr")
    assert process_from_json(process_to_json(process)) == process
    life = Life(Identity(7, 99), True, 2, "exit 1", 12.5)
    assert life_from_json(life_to_json(life)) == life


@pytest.mark.parametrize(
    ("life", "state"),
    [
        (Life(Identity(1, 1)), "running"),
        (Life(None, wanted=True), "restarting"),
        (Life(None, wanted=False), "stopped"),
    ],
)
def test_state_of_a_life(life: Life, state: str) -> None:
    assert life.state == state


@pytest.mark.parametrize(
    ("status", "text"), [(0, "exit 0"), (3, "exit 3"), (-9, "signal KILL"), (None, "unknown")]
)
def test_exit_text(status: int | None, text: str) -> None:
    assert text in exit_text(status)


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.44-fc", (6, 18)), ("6.6.0", (6, 6)), ("5.10.0-28-amd64", (5, 10)), ("odd", (0, 0))],
)
def test_kernel_version(release: str, version: tuple[int, int]) -> None:
    assert kernel_version(release) == version


def test_catalogue_of_faults_is_consistent() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(names) == len(set(names))
    assert len(names) >= 40
    codes = {kind.code for kind in KINDS}
    for fault in FAULTS:
        assert not fault.finding or fault.finding in codes, fault.name
        assert not fault.finding or fault.clear, f"{fault.name} does not last"
        assert bool(fault.example) >= bool(fault.finding), f"{fault.name} has no example"
        assert faults.describe(fault.name)["fault"].split()[0] == fault.name
    for word, name in faults.UNDO.items():
        assert word not in names
        assert faults.find(name).clear is not None
    with pytest.raises(LabError, match="there are: link-down"):
        faults.find("earthquake")


def test_pod_reference() -> None:
    assert pod_reference("pod/production/web") == "pod/web -n production"


def test_write_whole_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_whole(path, "one")
    write_whole(path, "two", 0o600)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "argv", [[], ["fly"], ["up", "--nodes", "0"], ["up", "--nodes", "9"], ["up", "--router", "x"]]
)
def test_wrong_usage_is_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        commands.main(argv)
    assert caught.value.code == 2
    assert "usage: cairn lab" in capsys.readouterr().err


def test_commands_on_a_lab_that_is_not_there_say_what_to_do() -> None:
    for argv in (["kubeconfig"], ["status"], ["exec", "node-1", "--", "true"]):
        with pytest.raises(LabError, match="cairn lab up --name nolabhere"):
            commands.main([*argv[:1], "--name", "nolabhere", *argv[1:]])
