"""Messages of Hubble's API against octets that another program's would be."""

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from cairn.flow.drop_reason import HUBBLE_NAMES
from cairn.hubble.proto import enum, message

FLOW = bytes.fromhex(
    "0a0a0898e3b7c90610c0843d"  # time, 1,000,000 ns after a second
    "1002"  # verdict: DROPPED
    "188501"  # drop_reason: 133
    "2a180a0831302e302e312e35120831302e302e322e3718012001"
)
"""time, verdict, drop_reason and IP of a flow, written by hand from the numbers of the fields."""


def test_a_flow_of_hand_written_octets_is_read() -> None:
    flow = message("flow.Flow").FromString(FLOW)
    assert flow.time.nanos == 1_000_000
    assert flow.verdict == 2
    assert flow.drop_reason == 133
    assert (flow.IP.source, flow.IP.destination) == ("10.0.1.5", "10.0.2.7")
    assert flow.IP.ipVersion == 1
    assert flow.IP.encrypted


@pytest.mark.parametrize(
    ("name", "text", "octets"),
    [
        ("flow.Flow", '{"reply": true}', "800101"),
        ("flow.Flow", '{"is_reply": false}', "d20100"),
        ("flow.Flow", '{"event_type": {"type": 1, "sub_type": 133}}', "9a0105080110 8501"),
        ("flow.Flow", '{"node_name": "n"}', "5a016e"),
        ("flow.Flow", '{"ingress_denied_by": [{"name": "p"}]}', "eaa00a030a0170"),
        ("flow.Flow", '{"Summary": "s"}', "82ea300173"),
        ("flow.Flow", '{"l7": {"dns": {"query": "q."}}}', "7a07a206040a02712e"),
        ("flow.Flow", '{"trace_observation_point": "TO_ENDPOINT"}', "c00165"),
        ("flow.FlowFilter", '{"source_pod": ["a/b"]}', "1203612f62"),
        ("flow.FlowFilter", '{"reply": [true, false]}', "7a020100"),
        ("flow.FlowFilter", '{"experimental": {"cel_expression": ["x"]}}', "ba3e030a0178"),
        ("flow.LostEvent", '{"source": "HUBBLE_RING_BUFFER", "num_events_lost": 7}', "08031007"),
        ("observer.GetFlowsRequest", '{"number": 20, "first": true}', "08144801"),
        ("observer.GetFlowsRequest", '{"field_mask": "verdict"}', "52090a0776657264696374"),
        ("observer.GetFlowsResponse", '{"node_name": "n"}', "c23e016e"),
        ("observer.ServerStatusResponse", '{"num_connected_nodes": 3}', "2a020803"),
        ("peer.ChangeNotification", '{"name": "n", "type": "PEER_ADDED"}', "0a016e1801"),
        ("relay.NodeStatusEvent", '{"state_change": "NODE_UNAVAILABLE"}', "0802"),
    ],
)  # fmt: skip
def test_fields_have_the_numbers_that_clients_know(name: str, text: str, octets: str) -> None:
    made = json_format.Parse(text, message(name)())
    assert made.SerializeToString() == bytes.fromhex(octets.replace(" ", ""))


def test_drop_reasons_have_hubbles_names() -> None:
    known = {value.number: value.name for value in enum("flow.DropReason").values}
    assert HUBBLE_NAMES.items() <= known.items()


@given(st.binary(max_size=60))
def test_fields_of_a_later_version_are_kept(rest: bytes) -> None:
    later = bytes.fromhex("aaae0c") + bytes([len(rest)]) + rest
    flow = message("flow.Flow").FromString(FLOW + later)
    assert later in flow.SerializeToString()
