"""What fits through the overlay: the narrowest of its tunnels decides."""

import pytest

from cairn.apply.overlay import overlay_mtu


@pytest.mark.parametrize(
    ("underlays", "expected"),
    [((), None), ((4,), 1450), ((6,), 1430), ((4, 6), 1430)],
)
def test_headers_of_the_widest_outer_packet_count(
    underlays: tuple[int, ...], expected: int | None
) -> None:
    assert overlay_mtu(1500, underlays) == expected
