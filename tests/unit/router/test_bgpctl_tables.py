"""The tables of bgpctl, character by character, and what is asked of them."""

import json

import pytest
import yaml

from cairn.router import bgpctl
from cairn.router.tables import duration, flags, neighbor_lines, rib_lines
from cairn.router.views import NeighborRow, PathRow, RouteRow, Views, load_views, save_views

NODES = tuple(
    NeighborRow(f"192.168.1.{n}", 64512, 12335 + n, 1224 + n, 0, 5015.0 + n, "Established", 3)
    for n in (10, 11, 12)
)
PATHS = tuple(
    PathRow("192.168.1.100/32", f"192.168.1.{n}", f"192.168.1.{n}", True, True, True)
    for n in (10, 11)
)
VIEWS = Views(
    "192.168.1.1",
    64512,
    NODES,
    PATHS,
    (RouteRow("192.168.1.100/32", ("192.168.1.10", "192.168.1.11"), 20),),
    {"PeerDown": 1},
)


def test_neighbors_look_as_openbgpd_prints_them() -> None:
    assert list(neighbor_lines(NODES)) == [
        "Neighbor                   AS    MsgRcvd    MsgSent  OutQ Up/Down  State/PrfRcvd",
        "192.168.1.10            64512      12345       1234     0 01:23:45      3",
        "192.168.1.11            64512      12346       1235     0 01:23:46      3",
        "192.168.1.12            64512      12347       1236     0 01:23:47      3",
    ]


def test_neighbor_that_was_never_up() -> None:
    row = NeighborRow("2001:db8::1", 64512, 0, 0, 0, None, "Active")
    words = " ".join(list(neighbor_lines([row]))[1].split())
    assert words == "2001:db8::1 64512 0 0 0 Never Active"


def test_rib_looks_as_openbgpd_prints_it() -> None:
    assert list(rib_lines(PATHS)) == [
        "flags: * = Valid, > = Selected, I = via IBGP, A = Announced,",
        "       S = Stale, E = Error",
        "flags destination          gateway          lpref   med aspath origin",
        "I*>   192.168.1.100/32     192.168.1.10       100     0 i",
        "I*>   192.168.1.100/32     192.168.1.11       100     0 i",
    ]


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (PathRow("::/0", "", "", True, True, True), "I*>"),
        (PathRow("::/0", "", "", True, True, False), "*>"),
        (PathRow("::/0", "", "", True, False, False, stale=True), "S*"),
        (PathRow("::/0", "", "", False, False, False, error=True), "E"),
        (PathRow("::/0", "", "", True, True, False, announced=True), "A*>"),
    ],
)
def test_flags(row: PathRow, shown: str) -> None:
    assert flags(row) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "00:00:00"), (5025.9, "01:23:45"), (90_000, "1d01h00m"), (700_000, "01w1d02h")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_views_survive_the_socket() -> None:
    assert load_views(save_views(VIEWS)) == VIEWS


def test_nobody_answers(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    assert bgpctl.main(["-s", f"{tmp_path}/none.sock", "show", "rib"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "none.sock" in said


@pytest.mark.parametrize(
    "words", [["show", "rib", "192.168.1.100"], ["show", "rib", "192.168.1.100/32"]]
)
def test_paths_of_one_prefix(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bgpctl, "ask", lambda path: VIEWS)
    assert bgpctl.main(["-j", *words]) == 0
    decoded = json.loads(capsys.readouterr().out)
    assert [path["exit_nexthop"] for path in decoded["rib"]] == ["192.168.1.10", "192.168.1.11"]


def test_unknown_neighbor_names_the_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bgpctl, "ask", lambda path: VIEWS)
    assert bgpctl.main(["show", "neighbor", "10.0.0.9"]) == 1
    assert "192.168.1.10, 192.168.1.11" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["-o", "json", "show", "rib"], ["show", "rib", "-o", "json"], ["show", "rib", "-j"]]
)
def test_forms_that_programs_read(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bgpctl, "ask", lambda path: VIEWS)
    assert bgpctl.main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert bgpctl.main(["show", "rib", "-o", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == told
    assert told["rib"]


def test_wrong_usage_ends_with_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bgpctl, "ask", lambda path: VIEWS)
    assert bgpctl.main(["show", "rib", "nowhere"]) == 2
    for words in (["show", "summary", "extra"], ["show", "all"], ["show"]):
        with pytest.raises(SystemExit) as ended:
            bgpctl.main(words)
        assert ended.value.code == 2
    assert "takes no 'extra'" in capsys.readouterr().err
