"""Who is dead, by what the speaker tells of its BFD sessions."""

from pathlib import Path

from cairn.agent.bfd_watch import BfdWatch
from cairn.net import parse_address

A, B = parse_address("192.0.2.1"), parse_address("192.0.2.2")


class Watch(BfdWatch):
    """A watch that is told by hand, and counts how often something changed."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"), self._count)
        self.changes = 0

    def _count(self) -> None:
        self.changes += 1

    def state(self, *rows: tuple[str, str, str, bool]) -> None:
        names = ("address", "state", "remote_state", "was_up")
        sessions = [dict(zip(names, row, strict=True)) for row in rows]
        self.hear({"event": "state", "peers": [], "bfd": sessions})

    def event(self, address: str, was: str, state: str, told: str = "up") -> None:
        session = {"address": address, "was": was, "state": state, "remote_state": told}
        self.hear({"event": "bfd", **session})


def test_only_a_session_that_was_up_proves_anything() -> None:
    watch = Watch()
    watch.state((str(A), "down", "down", False), (str(B), "down", "up", True))
    assert watch.told.is_set()
    assert (watch.is_dead(A), watch.is_dead(B)) == (False, True)
    watch.event(str(A), "down", "init", "down")
    watch.event(str(A), "init", "down", "down")
    assert not watch.is_dead(A)
    watch.event(str(A), "down", "up")
    assert watch.up == {A}
    watch.event(str(A), "up", "down")
    assert watch.is_dead(A)
    assert watch.up == set()
    watch.event(str(A), "down", "init", "down")
    assert watch.is_dead(A), "it begins again, but is not there yet"
    watch.event(str(A), "init", "up")
    assert not watch.is_dead(A)


def test_who_left_on_purpose_is_not_dead() -> None:
    watch = Watch()
    watch.event(str(A), "down", "up")
    watch.event(str(A), "up", "down", "admin-down")
    assert not watch.is_dead(A)
    assert watch.up == set()


def test_a_speaker_that_starts_anew_changes_nothing_about_the_dead() -> None:
    watch = Watch()
    watch.state((str(A), "down", "up", True))
    watch.state((str(A), "down", "down", False))
    assert watch.is_dead(A)
    watch.state()
    assert not watch.is_dead(A), "it is watched no more"


def test_a_node_that_is_ready_again_is_judged_by_that() -> None:
    watch = Watch()
    watch.state((str(A), "down", "up", True))
    before = watch.changes
    watch.forget(A)
    watch.forget(B)
    assert not watch.is_dead(A)
    assert watch.changes == before + 1


def test_what_is_no_news_is_not_told() -> None:
    watch = Watch()
    watch.state((str(A), "up", "up", True))
    before = watch.changes
    watch.state((str(A), "up", "up", True))
    watch.hear({"event": "peer-up", "peer": "router"})
    assert watch.changes == before
