"""The file in which a speaker keeps what it was last told.

    SpeakerConfig  <->  FILE, replaced whole

Invariants  After a crash the file holds the old or the new state, never a part of one.
            It may hold passwords, so only its owner can read it.
"""

import os
from pathlib import Path

from cairn.desired.routes import SpeakerConfig
from cairn.desired.routes_json import load_config, save_config


def load_state(path: Path) -> SpeakerConfig | None:
    """Return what was last saved; None if nothing ever was.

    Raises  ConfigError if the file holds something else, OSError if it cannot be read.
    """
    try:
        return load_config(path.read_bytes())
    except FileNotFoundError:
        return None


def save_state(path: Path, config: SpeakerConfig) -> None:
    """Save the state durably; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(save_config(config))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
