"""BFD packets: what is written reads back, and any octets are a packet or Malformed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.bfd.packet import ControlPacket, State, read_packet, write_packet
from cairn.wire import Malformed

NUMBERS = st.integers(0, 2**32 - 1)
PACKETS = st.builds(
    ControlPacket,
    state=st.sampled_from(State),
    my_discriminator=st.integers(1, 2**32 - 1),
    your_discriminator=NUMBERS,
    diagnostic=st.integers(0, 31),
    detect_multiplier=st.integers(1, 255),
    desired_min_tx_us=NUMBERS,
    required_min_rx_us=NUMBERS,
    required_min_echo_rx_us=NUMBERS,
    poll=st.booleans(),
    final=st.booleans(),
    control_plane_independent=st.booleans(),
    demand=st.booleans(),
)


@given(PACKETS, st.binary(max_size=8))
def test_round_trip_whatever_follows(packet: ControlPacket, rest: bytes) -> None:
    assert read_packet(write_packet(packet) + rest) == packet


@given(
    st.binary(max_size=64)
    | st.binary(min_size=23, max_size=60).map(lambda b: b"\x20\xc0\x03\x18" + b)
)
def test_any_octets_are_a_packet_or_malformed(octets: bytes) -> None:
    try:
        packet = read_packet(octets)
    except Malformed:
        return
    assert packet.my_discriminator
    assert packet.detect_multiplier


# Laid out by hand from the figure of RFC 5880 s4.1: Up, diagnostic 3, poll, multiplier 5.
VECTOR = bytes.fromhex("23e0051811223344556677880003d090000493e000000000")


def test_the_layout_of_the_standard() -> None:
    packet = ControlPacket(
        State.UP,
        0x11223344,
        0x55667788,
        diagnostic=3,
        detect_multiplier=5,
        desired_min_tx_us=250_000,
        required_min_rx_us=300_000,
        poll=True,
    )
    assert write_packet(packet) == VECTOR
    assert read_packet(VECTOR) == packet


def test_an_authentication_section_is_not_written() -> None:
    with pytest.raises(ValueError, match="authentication"):
        write_packet(ControlPacket(State.UP, 1, authenticated=True))
