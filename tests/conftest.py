"""What every test may rely on: capabilities by name, and a machine that is left as it was found.

A test is skipped only for a capability that it names and that the machine really lacks: any other
skip fails. With CAIRN_NEEDS_ALL set, as in CI, a lacking capability fails as well.
"""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings

from cairn.lab.images.table import is_installed

if os.environ.get("CI"):
    # The same examples each time: what fails there can be repeated here.
    settings.register_profile("ci", derandomize=True, deadline=None)
    settings.load_profile("ci")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Tests that run in the background have Ctrl-C ignored, and what they start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

PROGRAM = "program "
CAPABILITIES: dict[str, Callable[[], bool]] = {
    "root": lambda: os.geteuid() == 0,
    "bpf": lambda: os.geteuid() == 0 and Path("/sys/fs/bpf").is_mount(),
}
BY_MARKER = {"root": "root", "bpf": "bpf", "lab": "root"}
REASON = re.compile(r"(?:Skipped: )?needs (.+)", re.DOTALL)

PLACES = (
    Path("/run/netns"),
    Path("/run/cairn"),
    Path("/var/lib/cairn/lab"),
    Path("/sys/fs/bpf"),
    Path("/sys/fs/cgroup/unified"),
    Path("/sys/fs/cgroup"),
)
OURS = re.compile(r"(cairn-)?(ct|e2e)[-0-9a-f]")
PATIENCE_S = 5.0
BEFORE: pytest.StashKey[set[str]] = pytest.StashKey()


def has(capability: str) -> bool:
    """Return whether the machine has a capability: one of the table, or `program NAME`."""
    if capability.startswith(PROGRAM):
        name = capability.removeprefix(PROGRAM)
        return is_installed(name) or shutil.which(name) is not None
    return CAPABILITIES[capability]()


def require(capability: str) -> None:
    """Skip the test if the machine lacks `capability`."""
    if not has(capability):
        pytest.skip(f"needs {capability}")


@pytest.fixture
def needs() -> Callable[[str], None]:
    """A function that skips the test if the machine lacks what it names."""
    return require


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the test's markers say it needs and the machine lacks."""
    for marker in item.iter_markers():
        if marker.name in BY_MARKER:
            require(BY_MARKER[marker.name])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure unless it names a capability that is really lacking."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and call.excinfo is not None:
        wrong = unjustified(str(call.excinfo.value))
        if wrong:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: {wrong}"
    return report


def unjustified(reason: str) -> str:
    """Return what is wrong with a skip, empty if it is justified."""
    found = REASON.fullmatch(reason.strip())
    capability = found[1] if found else ""
    if capability not in CAPABILITIES and not capability.startswith(PROGRAM):
        return f"skipped without naming a capability: {reason!r}"
    if has(capability):
        return f"skipped for {capability}, which this machine has"
    if os.environ.get("CAIRN_NEEDS_ALL"):
        return f"this machine lacks {capability}: install it (make test does)"
    return ""


def traces() -> set[str]:
    """Return what tests have made on this machine, of any session."""
    return {
        str(path)
        for place in PLACES
        if place.is_dir()
        for path in place.iterdir()
        if OURS.match(path.name)
    }


def others_test_here() -> bool:
    """Return whether another test session runs: what it makes is not ours to judge."""
    own = os.getpgid(0)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            same = os.getpgid(int(folder.name)) == own
        except (OSError, ValueError):
            continue
        if not same and any(word.split(b"/")[-1] == b"pytest" for word in words[:3]):
            return True
    return False


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember what lay about before."""
    session.config.stash[BEFORE] = traces()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a session that leaves namespaces, control groups, pins or files of labs behind."""
    if hasattr(session.config, "workerinput"):
        return  # the session that started this worker looks
    before: set[str] = session.config.stash[BEFORE]
    deadline = time.monotonic() + PATIENCE_S
    while left := traces() - before:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    if left and not others_test_here():
        print("\nleft behind: " + ", ".join(sorted(left)))
        session.exitstatus = exitstatus or pytest.ExitCode.TESTS_FAILED
