"""Which XDP program a device gets."""

import pytest

from cairn.compile.xdp_form import Device, Form, Wish, choose_form

CARD = Device("ixgbe", virtual=False, has_vlans=False)
VETH = Device("veth", virtual=True, has_vlans=False)
TRUNK = Device("ixgbe", virtual=False, has_vlans=True)


@pytest.mark.parametrize(
    ("device", "wish", "drops", "attached", "hand_over", "why"),
    [
        (CARD, Wish.AUTO, False, True, True, "ixgbe"),
        (VETH, Wish.AUTO, False, False, False, "nothing to drop; veth: hand-over at tcx"),
        (VETH, Wish.AUTO, True, True, False, "veth: hand-over at tcx"),
        (TRUNK, Wish.AUTO, True, True, False, "VLANs on ixgbe: hand-over at tcx"),
        (CARD, Wish.OFF, True, False, False, "--xdp off: drops and hand-over at tcx"),
        (CARD, Wish.DROP, True, True, False, "--xdp drop: hand-over at tcx"),
        (CARD, Wish.DROP, False, False, False, "nothing to drop; --xdp drop: hand-over at tcx"),
        (VETH, Wish.HAND_OVER, False, True, True, "veth, by --xdp hand-over"),
    ],
)
def test_form(
    device: Device, wish: Wish, drops: bool, attached: bool, hand_over: bool, why: str
) -> None:
    assert choose_form(device, wish, drops=drops) == Form(attached, hand_over, why)
