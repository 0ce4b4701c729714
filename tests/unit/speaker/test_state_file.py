"""The file that a speaker starts from."""

from pathlib import Path

import pytest

from cairn.desired.reader import ConfigError
from cairn.desired.routes import Announcement, SpeakerConfig
from cairn.net import parse_network
from cairn.speaker.state_file import load_state, save_state

STATE = SpeakerConfig(
    "192.168.1.10", 64512, routes=(Announcement(parse_network("192.168.1.100/32")),)
)


def test_round_trip_and_permissions(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.json"
    assert load_state(path) is None
    save_state(path, STATE)
    assert load_state(path) == STATE
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["state.json"]


def test_a_torn_file_is_an_error_and_not_an_empty_state(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b'{"router_id":"192.1')
    with pytest.raises(ConfigError):
        load_state(path)
