"""The door to BPF against the real kernel: maps, objects, pins, links, rings, errors."""

import os
import secrets
import struct
import subprocess
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from cairn.abi.records import EVENT
from cairn.abi.structs import Config
from cairn.apply.program_state import program_states
from cairn.libbpf import (
    AttachType,
    BpfError,
    Link,
    Map,
    MapShape,
    MapType,
    UpdateFlag,
    attach,
    load_object,
    possible_cpus,
    probe,
)
from cairn.libbpf.library import summary
from cairn.libbpf.ring import Ring
from cairn.linux import cgroup, mount, namespace

OBJECTS = Path(__file__).parents[2] / "src" / "cairn" / "_bpf"
UPLINK = OBJECTS / "uplink_ingress.o"
SMALL = {"conntrack": 512, "fragments": 256, "socket_reverse": 256}

pytestmark = pytest.mark.bpf


def number(value: int) -> bytes:
    return struct.pack("<I", value)


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "bpf"
    folder.mkdir()
    mount.ensure_bpffs(folder)
    yield folder / "node"
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def table() -> Iterator[Map]:
    with Map.create(MapShape(MapType.HASH, 4, 8, 1000, 0), "table") as made:
        yield made


def test_one_entry(table: Map) -> None:
    assert table.lookup(number(1)) is None
    table.update(number(1), b"a" * 8)
    table.update(number(1), b"b" * 8)
    assert table.lookup(number(1)) == b"b" * 8
    assert table.delete(number(1))
    assert not table.delete(number(1))


def test_updates_may_be_conditional(table: Map) -> None:
    with pytest.raises(BpfError, match="No such file"):
        table.update(number(1), bytes(8), UpdateFlag.EXISTING_ONLY)
    table.update(number(1), bytes(8), UpdateFlag.CREATE_ONLY)
    with pytest.raises(BpfError, match="exists"):
        table.update(number(1), bytes(8), UpdateFlag.CREATE_ONLY)


def test_sizes_are_checked(table: Map) -> None:
    with pytest.raises(BpfError, match="key of 3 octets, not 4"):
        table.lookup(b"abc")
    with pytest.raises(BpfError, match="value of 1 octets, not 8"):
        table.update(number(1), b"x")
    with pytest.raises(BpfError, match="do not pair"):
        table.update_batch(number(1), b"x")


@pytest.mark.parametrize("kind", [MapType.HASH, MapType.LRU_HASH, MapType.ARRAY])
def test_many_entries(kind: MapType) -> None:
    entries = {number(n): struct.pack("<Q", n * n) for n in range(20_000)}
    size = 40_000 if kind == MapType.LRU_HASH else 20_000
    with Map.create(MapShape(kind, 4, 8, size, 0), "many") as many:
        many.update_batch(b"".join(entries), b"".join(entries.values()))
        assert dict(many.items()) == entries | (
            {number(n): bytes(8) for n in range(20_000, size)} if kind == MapType.ARRAY else {}
        )


def test_many_entries_are_deleted_and_absent_ones_are_no_error(table: Map) -> None:
    keys = [number(n) for n in range(100)]
    table.update_batch(b"".join(keys), bytes(800))
    absent = [number(n) for n in range(1000, 1005)]
    mixed = [*keys[:30], absent[0], absent[1], *keys[30:60], *absent[2:]]
    assert table.delete_batch(b"".join(mixed)) == 60
    assert {key for key, _ in table.items()} == set(keys[60:])


def test_a_full_map_says_so() -> None:
    with (
        Map.create(MapShape(MapType.HASH, 4, 4, 2, 0), "tiny") as tiny,
        pytest.raises(BpfError, match="map tiny"),
    ):
        tiny.update_batch(b"".join(map(number, range(9))), bytes(36))


def test_values_of_all_cpus() -> None:
    with Map.create(MapShape(MapType.PERCPU_ARRAY, 4, 4, 1, 0), "cpus") as counters:
        assert counters.value_bytes == 8 * possible_cpus()
        assert len(counters.lookup(number(0)) or b"") == counters.value_bytes


def test_pinned_maps_are_taken_over(bpffs: Path) -> None:
    with load_object(UPLINK, sizes=SMALL, pins=bpffs) as first:
        first.maps["backends"].update(number(7), b"v" * 24)
        identity = first.maps["backends"].id
        assert first.changes == ()
    with load_object(UPLINK, sizes=SMALL, pins=bpffs) as second:
        assert second.changes == ()
        assert second.maps["backends"].id == identity
        assert second.maps["backends"].lookup(number(7)) == b"v" * 24
    with load_object(OBJECTS / "socket.o", sizes=SMALL, pins=bpffs) as other:
        assert other.maps["backends"].id == identity


def test_a_map_of_another_size_takes_its_entries_along(bpffs: Path) -> None:
    with load_object(UPLINK, sizes={**SMALL, "backends": 100, "maglev": 8}, pins=bpffs) as old:
        old.maps["backends"].update(number(7), b"v" * 24)
        shape = MapShape(MapType.ARRAY, 4, 65537 * 4, 1, 0)
        with Map.create(shape, "inner") as inner:
            inner.update(bytes(4), number(9) * 65537)
            old.maps["maglev"].update_inner(number(1), inner)
    with load_object(UPLINK, sizes={**SMALL, "backends": 200, "maglev": 16}, pins=bpffs) as new:
        assert {change.name for change in new.changes} == {"backends", "maglev"}
        assert "1 entries copied" in new.changes[0].reason
        assert new.maps["backends"].lookup(number(7)) == b"v" * 24
        inner_id = struct.unpack("<I", new.maps["maglev"].lookup(number(1)) or b"")[0]
        with Map.open_id(inner_id) as inner:
            assert (inner.lookup(bytes(4)) or b"")[:4] == number(9)
    with Map.open_pinned(bpffs / "backends") as pinned:
        assert pinned.shape.max_entries == 200


def test_a_map_that_would_not_hold_its_entries_stays(bpffs: Path) -> None:
    with load_object(UPLINK, sizes={**SMALL, "backends": 100}, pins=bpffs) as old:
        for key in range(50):
            old.maps["backends"].update(number(key), b"v" * 24)
    with pytest.raises(BpfError, match="map backends: it holds more entries than would fit into 8"):
        load_object(UPLINK, sizes={**SMALL, "backends": 8}, pins=bpffs)
    with Map.open_pinned(bpffs / "backends") as pinned:
        assert len(dict(pinned.items())) == 50


def test_a_map_of_another_shape_is_replaced_and_named(bpffs: Path) -> None:
    bpffs.mkdir()
    with Map.create(MapShape(MapType.HASH, 4, 99, 10, 0), "backends") as foreign:
        foreign.pin(bpffs / "backends")
    with load_object(UPLINK, sizes=SMALL, pins=bpffs) as loaded:
        assert [change.name for change in loaded.changes] == ["backends"]
        assert "entries are gone" in loaded.changes[0].reason
    with Map.open_pinned(bpffs / "backends") as pinned:
        assert pinned.shape.value_bytes == 24


def wait_dead(pin: Path) -> None:
    """Wait until the device of the pinned link is gone."""
    end = time.monotonic() + 20
    while True:
        with Link.open_pinned(pin) as link:
            if link.target == 0:
                return
        assert time.monotonic() < end, "the link outlives its namespace"
        time.sleep(0.01)


def test_a_pinned_link_is_updated_in_place_and_remade_when_dead(bpffs: Path) -> None:
    name = f"ct-{os.getpid()}-{secrets.token_hex(3)}"
    pin = bpffs / "links" / "lo"
    with load_object(OBJECTS / "empty.o") as one, load_object(OBJECTS / "empty.o") as two:
        first, second = one.programs["empty"], two.programs["empty"]
        with namespace.temporary(name):
            link = namespace.call_in(name, attach, first, AttachType.TCX_INGRESS, 1, pin)
            link.close()
            with Link.open_pinned(pin) as kept:
                assert (kept.program_id, kept.target) == (first.id, 1)
            link = namespace.call_in(name, attach, second, AttachType.TCX_INGRESS, 1, pin)
            assert link.program_id == second.id
            link.close()
        wait_dead(pin)  # the kernel takes a namespace down in its own time
        with namespace.temporary(name):
            link = namespace.call_in(name, attach, first, AttachType.TCX_INGRESS, 1, pin)
            assert (link.program_id, link.target) == (first.id, 1)
            link.close()


def test_a_program_that_is_not_ours_is_named(bpffs: Path) -> None:
    name = f"ct-{os.getpid()}-{secrets.token_hex(3)}"
    hooks = {"empty": AttachType.TCX_INGRESS, "uplink_ingress": AttachType.TCX_EGRESS}
    with load_object(OBJECTS / "empty.o") as loaded, namespace.temporary(name):
        program = loaded.programs["empty"]
        for pin, hook in hooks.items():
            namespace.call_in(name, attach, program, hook, 1, bpffs / "links" / pin).close()
        with Link.open_pinned(bpffs / "links" / "empty") as link:
            assert link.program_name == "empty"
        states = program_states(bpffs)
        assert all(state.attached for state in states)
        found = {state.name: state.program for state in states}
        assert found == {"empty": "", "uplink_ingress": "empty"}


def test_a_cgroup_link_is_updated_in_place(bpffs: Path) -> None:
    group = cgroup.create(cgroup.unified_root() / f"ct-{os.getpid()}-{secrets.token_hex(3)}")
    fd = os.open(group, os.O_RDONLY)
    pin = bpffs / "connect4"
    try:
        with load_object(OBJECTS / "socket.o", sizes=SMALL) as loaded:
            program = loaded.programs["socket_connect4"]
            attach(program, AttachType.CGROUP_CONNECT4, fd, pin).close()
            with Link.open_pinned(pin) as first:
                pinned = first.target
            with attach(program, AttachType.CGROUP_CONNECT4, fd, pin) as second:
                assert second.target == pinned == group.stat().st_ino
        pin.unlink()
    finally:
        os.close(fd)
        cgroup.remove(group)


def test_configuration_must_fit() -> None:
    with pytest.raises(BpfError, match=r"uplink_ingress.o: .rodata.config takes 64 octets, given"):
        load_object(UPLINK, config={".rodata.config": b"short"})
    with pytest.raises(BpfError, match=r"no section .rodata.other"):
        load_object(UPLINK, config={".rodata.other": b""})


def test_a_missing_object_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(BpfError, match="make bpf"):
        load_object(tmp_path / "none.o")


def test_a_file_that_is_no_object(tmp_path: Path) -> None:
    path = tmp_path / "text.o"
    path.write_text("not ELF")
    with pytest.raises(BpfError, match=r"open text\.o") as caught:
        load_object(path)
    assert "\n" not in str(caught.value)


def test_pins_outside_a_bpffs_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BpfError, match="pin ") as caught:
        load_object(UPLINK, sizes=SMALL, pins=tmp_path / "plain")
    assert "\n" not in str(caught.value)


def test_the_verifiers_reason_is_found() -> None:
    said = (
        "libbpf: prog 'uplink': BPF program load failed: Permission denied\n"
        "libbpf: prog 'uplink': -- BEGIN PROG LOAD LOG --\n"
        "0: (b7) r0 = 0\n"
        "R0 max value is outside of the allowed memory range\n"
        "processed 701 insns (limit 1000000)\n"
        "-- END PROG LOAD LOG --\n"
        "libbpf: failed to load object\n"
    )
    assert summary(said, 13) == (
        "program uplink rejected by the verifier: "
        "R0 max value is outside of the allowed memory range"
    )


def test_the_ring_gives_records_once() -> None:
    config = Config(
        ip_address("192.0.2.1"), ip_address("::"), 1, 0, 0, b"\x02" * 6, 1_000, 20_000, 0
    ).write()
    truncated = b"\x02" * 12 + b"\x08\x00" + bytes.fromhex("45000fff") + bytes(16)
    with load_object(UPLINK, sizes=SMALL, config={".rodata.config": config}) as loaded:
        ring = Ring(loaded.maps["events"], EVENT)
        assert len(ring.drain()) == 0
        loaded.programs["uplink_ingress"].run_packet(truncated, ifindex=1, repeat=300)
        found = ring.drain()
        assert len(found) == 300
        assert set(found["verdict"]) == {32}
        assert set(found["ifindex"]) == {1}
        assert len(ring.drain()) == 0


def test_events_are_sampled_and_what_was_left_out_is_counted() -> None:
    config = Config(
        ip_address("192.0.2.1"), ip_address("::"), 1, 0, 0, b"\x02" * 6, 7, 20_000, 10**15
    ).write()
    truncated = b"\x02" * 12 + b"\x08\x00" + bytes.fromhex("45000fff") + bytes(16)
    with load_object(UPLINK, sizes=SMALL, config={".rodata.config": config}) as loaded:
        ring = Ring(loaded.maps["events"], EVENT)
        loaded.programs["uplink_ingress"].run_packet(truncated, ifindex=1, repeat=300)
        found = len(ring.drain())
        assert found % 7 == 0  # on each CPU that the runs were on
        assert 7 <= found <= 7 * possible_cpus()


def test_a_full_ring_is_counted() -> None:
    config = Config(
        ip_address("192.0.2.1"), ip_address("::"), 1, 0, 0, b"\x02" * 6, 1_000, 20_000, 0
    ).write()
    truncated = b"\x02" * 12 + b"\x08\x00" + bytes.fromhex("45000fff") + bytes(16)
    sizes = {**SMALL, "events": 4096}
    with load_object(UPLINK, sizes=sizes, config={".rodata.config": config}) as loaded:
        ring = Ring(loaded.maps["events"], EVENT)
        loaded.programs["uplink_ingress"].run_packet(truncated, ifindex=1, repeat=300)
        kept = len(ring.drain())
        raw = loaded.maps["metrics"].lookup(number(8)) or b""
        lost = sum(struct.unpack_from("<Q", raw, at)[0] for at in range(0, len(raw), 16))
        assert kept < 300
        assert kept + lost == 300


def test_nothing_is_missing_here(bpffs: Path) -> None:
    assert probe(bpffs) == []


def test_a_missing_bpffs_is_named(tmp_path: Path) -> None:
    (missing,) = probe(tmp_path)
    assert missing.name == "bpffs"
    assert "mount -t bpf" in missing.sentence


def test_without_privilege_one_line_says_so() -> None:
    code = (
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "from cairn.libbpf import probe\n"
        "print(*(m.sentence for m in probe()), sep='\\n')"
    )
    python = Path(__file__).parents[2] / ".venv" / "bin" / "python"
    done = subprocess.run(
        [str(python), "-c", f"import cairn.libbpf\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.count("\n") == 1, done.stderr
    assert "CAP_BPF" in done.stdout
