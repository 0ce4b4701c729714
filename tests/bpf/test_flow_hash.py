"""The hash in Python is the programs' own: both choose the same backend for every flow."""

from collections.abc import Iterator

import numpy as np
import pytest
from packets import SYN
from trial import (
    CLIENT,
    LOCAL_ID,
    MIXED_PORT,
    REMOTE_ID,
    VIP,
    Trial,
    loaded,
    request,
)

from cairn.abi.records import CONNECTION
from cairn.abi.structs import MAGLEV_SIZE, Direction, Tuple
from cairn.libbpf import Map, MapShape, MapType
from cairn.net import L4Address, Protocol, parse_address
from cairn.observe.flow_hash import hash_flow, slot_of

pytestmark = pytest.mark.bpf

FLOWS = 200
MIXED_SERVICE = 4


@pytest.fixture
def trial() -> Iterator[Trial]:
    with loaded() as node:
        yield node


def test_flows_fall_into_the_slots_that_python_says(trial: Trial) -> None:
    table = np.random.default_rng(7).choice([LOCAL_ID, REMOTE_ID], MAGLEV_SIZE).astype("<u4")
    with Map.create(MapShape(MapType.ARRAY, 4, table.nbytes, 1, 0), "maglev") as inner:
        inner.update(bytes(4), table.tobytes())
        trial.maps["maglev"].update_inner(MIXED_SERVICE.to_bytes(4, "little"), inner)
    where = L4Address(parse_address(VIP), Protocol.TCP, MIXED_PORT)
    chosen = []
    for port in range(20000, 20000 + FLOWS):
        trial.run(request(MIXED_PORT, flags=SYN, source_port=port))
        client = L4Address(parse_address(CLIENT), Protocol.TCP, port)
        key = Tuple(
            client.address, where.address, port, MIXED_PORT, Protocol.TCP, Direction.FORWARD
        )
        entry = trial.maps["conntrack"].lookup(key.write())
        assert entry is not None
        backend = int(np.frombuffer(entry, CONNECTION)["backend"][0])
        assert backend == table[slot_of(hash_flow(client, where), MAGLEV_SIZE)]
        chosen.append(backend)
    assert set(chosen) == {LOCAL_ID, REMOTE_ID}
