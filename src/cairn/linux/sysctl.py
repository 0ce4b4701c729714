"""Kernel settings of the calling thread's network namespace.

    {"net.ipv4.ip_forward": "1"}  ->  /proc/sys/net/ipv4/ip_forward

Invariants  `/proc/sys/net` follows the calling thread; run inside `namespace.call_in`.
            A setting is written only if it differs.
"""

from collections.abc import Mapping
from pathlib import Path

ROOT = Path("/proc/sys")


class SettingFailed(OSError):
    """A kernel setting that could not be written."""


def setting_path(name: str) -> Path:
    """Return the file of a setting; a slash in `name` stands for itself, as in sysctl(8)."""
    return ROOT / (name if "/" in name else name.replace(".", "/"))


def read_setting(name: str) -> str | None:
    """Return the value of a setting; None if this kernel has none of that name."""
    try:
        return setting_path(name).read_text().strip()
    except FileNotFoundError:
        return None


def write_settings(settings: Mapping[str, str], *, optional: bool = False) -> list[str]:
    """Write the settings; return the names this kernel lacks, which needs `optional`.

    Raises  SettingFailed, with name and reason, for the first that cannot be written.
    """
    missing = []
    for name, value in settings.items():
        found = read_setting(name)
        if found is None:
            if not optional:
                raise SettingFailed(f"this kernel has no setting {name}")
            missing.append(name)
        elif found != value:
            try:
                setting_path(name).write_text(value)
            except OSError as error:
                raise SettingFailed(f"{name} = {value}: {error.strerror}") from error
    return missing
