"""Endpoint records outlive the agent and survive damage."""

from pathlib import Path

from cairn.agent.endpoint_store import LAST_GIVEN, EndpointStore
from cairn.desired.endpoint import PodEndpoint
from cairn.net import parse_address


def endpoint(name: str = "a", address: str = "10.244.1.2") -> PodEndpoint:
    return PodEndpoint(
        container_id=f"id-{name}",
        ifname="eth0",
        netns=f"/run/netns/{name}",
        namespace="default",
        pod=name,
        uid=f"uid-{name}",
        addresses=(parse_address(address), parse_address("fd00::2")),
        host_ifname=f"lxc{name}",
        host_mac="02:00:00:00:00:01",
        mac="02:00:00:00:00:02",
        host_ifindex=7,
    )


def test_records_come_back(tmp_path: Path) -> None:
    store = EndpointStore(tmp_path)
    store.put(endpoint())
    store.last = endpoint().addresses
    again = EndpointStore(tmp_path)
    assert tuple(again) == (endpoint(),)
    assert again.get("id-a", "eth0") == endpoint()
    assert again.last == endpoint().addresses
    assert again.used() == set(endpoint().addresses)


def test_a_removed_record_stays_removed(tmp_path: Path) -> None:
    store = EndpointStore(tmp_path)
    store.put(endpoint())
    store.remove(endpoint())
    store.remove(endpoint())
    assert tuple(EndpointStore(tmp_path)) == ()


def test_a_damaged_record_is_set_aside_and_named(tmp_path: Path) -> None:
    EndpointStore(tmp_path).put(endpoint())
    EndpointStore(tmp_path).put(endpoint("b", "10.244.1.3"))
    (tmp_path / "id-a-eth0.json").write_text('{"container_id": "id')
    assert [found.pod for found in EndpointStore(tmp_path)] == ["b"]
    assert (tmp_path / "id-a-eth0.bad").exists()


def test_no_last_address_is_none(tmp_path: Path) -> None:
    assert EndpointStore(tmp_path).last == ()


def test_one_address_alone_is_read_as_it_was_written_before(tmp_path: Path) -> None:
    (tmp_path / LAST_GIVEN).write_text("10.244.1.2")
    assert EndpointStore(tmp_path).last == (parse_address("10.244.1.2"),)
