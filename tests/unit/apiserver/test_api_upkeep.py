"""The server's own work: old Events, garbage left by a crash, certificates made once."""

import threading
from pathlib import Path
from typing import Any

import pytest
from apiserver_bed import Core

from cairn.api.pki import Pki, PkiError, ensure_pki
from cairn.api.token import load_key, read_token
from cairn.api.upkeep import EVENTS_KEPT, expired_events
from cairn.apiserver.collect import collect, left_over
from cairn.apiserver.store import Transaction

EVENTS = "/api/v1/namespaces/default/events"
MAPS = "/api/v1/namespaces/default/configmaps"


def event(name: str, last: str | None) -> dict[str, Any]:
    about = {"kind": "Pod", "name": "p", "namespace": "default"}
    obj = {"metadata": {"name": name}, "involvedObject": about, "reason": "R", "type": "Normal"}
    return obj | ({"lastTimestamp": last} if last else {})


def test_events_end_an_hour_after_they_last_happened(core: Core) -> None:
    core.create(EVENTS, event("old", "2029-12-31T22:59:59Z"))
    core.pass_time(10)
    core.create(EVENTS, event("renewed", "2030-01-01T00:59:00Z"))
    core.create(EVENTS, event("undated", None))
    events = list(core.server.store.all("events"))
    assert {e.key.name for e in expired_events(events, "2030-01-01T00:00:05Z")} == {"old"}
    gone = expired_events(events, "2030-01-01T00:30:00Z")
    assert {e.key.name for e in gone} == {"old", "undated"}


def test_too_many_events_lose_the_oldest(core: Core) -> None:
    core.create(EVENTS, event("first", None))
    core.pass_time(60)
    core.create(EVENTS, event("last", None))
    first, last = sorted(core.server.store.all("events"), key=lambda e: e.revision)
    flood = [last] * EVENTS_KEPT
    assert expired_events([first, *flood], "2000-01-01T00:00:00Z") == [first]


def test_garbage_that_a_crash_left_is_found(core: Core) -> None:
    owner = core.create(MAPS, {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner"}
    reference["uid"] = owner["metadata"]["uid"]
    core.create(MAPS, {"metadata": {"name": "child", "ownerReferences": [reference]}})
    txn = Transaction(core.server.store)
    txn.remove("configmaps", owner)
    core.server.committed(txn.changes)
    assert left_over(core.server.store) == {owner["metadata"]["uid"]}
    txn = Transaction(core.server.store)
    collect(txn, core.environment, core.server.registry, owner["metadata"]["uid"])
    core.server.committed(txn.changes)
    assert core.send("GET", MAPS).value["items"] == []
    assert left_over(core.server.store) == set()


def test_many_who_need_certificates_at_once_share_them(tmp_path: Path) -> None:
    made: list[bytes] = []

    def make() -> None:
        made.append(ensure_pki(tmp_path / "pki").ca_pem)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert len(set(made)) == 1
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "pki").iterdir()}
    assert {name: mode for name, mode in modes.items() if name.endswith(".key")} == dict.fromkeys(
        ("ca.key", "apiserver.key", "admin.key", "kubelet-client.key", "sa.key"), 0o600
    )


def test_a_broken_authority_is_named(tmp_path: Path) -> None:
    pki = ensure_pki(tmp_path)
    (tmp_path / "ca.key").write_text("nonsense")
    with pytest.raises(PkiError, match=r"ca\.crt and ca\.key cannot be used"):
        Pki(pki.directory).issue_client("x")


@pytest.mark.parametrize("token", ["", "a.b.c", "a", "..", "é.é.é"])
def test_a_token_that_is_not_ours_is_nobody(tmp_path: Path, token: str) -> None:
    assert read_token(load_key(tmp_path / "sa.key"), token) is None
