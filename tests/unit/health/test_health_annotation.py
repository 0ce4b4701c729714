"""What an author may say of health checks, and what is said of what cannot be read."""

import pytest

from cairn.health.annotation import Wish, read_wish
from cairn.health.check import Check, HttpRequest

PROBE = HttpRequest("/ready", host="web", headers=(("A", "b"),))


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("off", Wish(off=True)),
        ("tcp", Wish(kind="tcp")),
        ("http:/healthz", Wish(kind="http", path="/healthz")),
        ("http:/a?b=c", Wish(kind="http", path="/a?b=c")),
        (
            "http:/healthz interval=500ms fail=3",
            Wish(kind="http", path="/healthz", interval_s=0.5, failures=3),
        ),
        ("  tcp\ttimeout=1.5s  interval=30s ", Wish(kind="tcp", interval_s=30, timeout_s=1.5)),
    ],
)
def test_what_can_be_said(text: str, wish: Wish) -> None:
    assert read_wish(text) == wish


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begin with a kind"),
        ("interval=1s", "begin with a kind"),
        ("on", "'on' is no kind"),
        ("http", "'http' is no kind"),
        ("http:healthz", "'http:healthz' is no kind"),
        ("http:/ä", "is no kind"),
        ("tcp interval=1", "'1' is no duration"),
        ("tcp interval=1ms", "'1ms' is no duration"),
        ("tcp interval=1h", "'1h' is no duration"),
        ("tcp interval=301s", "'301s' is no duration"),
        ("tcp fail=0", "'0' is no number"),
        ("tcp fail=²", "'²' is no number"),
        ("tcp fail=" + "9" * 5000, "is no number"),
        ("tcp retries=3", "'retries=3' is not known"),
        ("tcp interval", "'' is no duration"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        read_wish(text)


@pytest.mark.parametrize(
    ("wish", "probe", "check"),
    [
        (Wish(), None, Check(None, 0.5, 3, 1.0)),
        (Wish(), PROBE, Check(PROBE, 1.0, 3, 1.0)),
        (Wish(kind="tcp"), PROBE, Check(None, 0.5, 3, 1.0)),
        (Wish(kind="http", path="/x"), PROBE, Check(HttpRequest("/x"), 1.0, 3, 1.0)),
        (Wish(kind="tcp", interval_s=2, timeout_s=3, failures=4), None, Check(None, 2, 4, 3)),
    ],
)
def test_the_check_that_follows(wish: Wish, probe: HttpRequest | None, check: Check) -> None:
    assert wish.check(probe) == check
