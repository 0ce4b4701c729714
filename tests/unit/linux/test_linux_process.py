"""Processes by identity, mounts and settings: what any user may ask."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cairn.linux import mount
from cairn.linux.process import (
    Identity,
    Place,
    identity_of,
    is_alive,
    open_process,
    send_signal,
    start,
    wait_gone,
)
from cairn.linux.sysctl import SettingFailed, read_setting, setting_path, write_settings


def test_identity_is_stable_and_distinct() -> None:
    mine = identity_of(os.getpid())
    assert mine is not None
    assert mine == identity_of(os.getpid())
    assert is_alive(mine)
    assert not is_alive(Identity(mine.pid, mine.started + 1))


def test_signal_reaches_that_process_and_no_later_one() -> None:
    child = subprocess.Popen(["sleep", "60"])
    who = identity_of(child.pid)
    assert who is not None
    assert not send_signal(Identity(who.pid, who.started - 1), signal.SIGKILL)
    assert child.poll() is None
    assert send_signal(who, signal.SIGTERM)
    assert wait_gone(who, deadline_s=5)
    assert child.wait() == -signal.SIGTERM
    assert not send_signal(who, signal.SIGTERM)
    assert identity_of(child.pid) != who


def test_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    who = Identity(child.pid, 0)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity_of(child.pid) is None
    assert open_process(who) is None
    assert wait_gone(who, deadline_s=0)
    child.wait()


def test_deadline_of_waiting_is_kept() -> None:
    mine = identity_of(os.getpid())
    assert mine is not None
    assert not wait_gone(mine, deadline_s=0.01)


def test_started_process_has_its_environment_and_files_and_no_terminal(tmp_path: Path) -> None:
    code = (
        "import os,sys; print(sorted(os.environ)[0], os.getsid(0)==os.getpid(), sys.stdin.read())"
    )
    with (tmp_path / "out").open("wb") as output:
        child = start(
            [sys.executable, "-S", "-c", code], Place(), environment={"A": "b"}, output=output
        )
        assert child.wait() == 0
    assert (tmp_path / "out").read_text().split() == ["A", "True"]


def test_unknown_account_is_told_before_anything_starts(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as output, pytest.raises(KeyError, match="nobody-here"):
        start(["true"], Place(), environment={}, output=output, user="nobody-here")


def test_mounts_name_the_root_and_proc() -> None:
    kinds = {point.target: point.kind for point in mount.mounts()}
    assert "/" in kinds
    assert kinds["/proc"] == "proc"
    assert mount.mount_points("/proc") <= set(kinds)
    assert "/" not in mount.mount_points("/proc")


def test_settings_by_name_or_path() -> None:
    assert setting_path("net.ipv4.ip_forward") == Path("/proc/sys/net/ipv4/ip_forward")
    assert setting_path("net/ipv4/conf/eth0.1/mtu") == Path("/proc/sys/net/ipv4/conf/eth0.1/mtu")
    assert read_setting("kernel.ostype") == "Linux"
    assert read_setting("net.no.such") is None


def test_equal_setting_is_not_written_and_missing_one_is_named() -> None:
    assert write_settings({"kernel.ostype": "Linux"}) == []
    assert write_settings({"net.no.such": "1"}, optional=True) == ["net.no.such"]
    with pytest.raises(SettingFailed, match=r"net\.no\.such"):
        write_settings({"net.no.such": "1"})
    with pytest.raises(SettingFailed, match=r"kernel\.ostype = Plan9"):
        write_settings({"kernel.ostype": "Plan9"})
