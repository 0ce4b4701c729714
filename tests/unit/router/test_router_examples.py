"""The examples are what the code renders and loads; `CAIRN_GOLDENS=write` renders them anew."""

import os
from pathlib import Path

import pytest

from cairn.net import parse_network
from cairn.router.config import load_router_config
from cairn.router.daemons import plan_router

EXAMPLES = Path(__file__).parents[3] / "examples" / "router"
RENDERED = {"frr": "bgpd.conf", "bird": "bird.conf", "openbgpd": "bgpd.conf"}


@pytest.mark.parametrize("kind", RENDERED)
def test_examples_for_other_daemons_are_what_we_render(kind: str) -> None:
    plan = plan_router(
        kind,
        directory=Path("/run/router"),
        asn=64512,
        router_id="192.168.1.1",
        peer_networks=["192.168.1.0/24"],
        listen=["192.168.1.1"],
    )
    (text,) = (f.text for p, f in plan.files.items() if p.name == RENDERED[kind])
    example = EXAMPLES / f"{kind}.conf"
    if os.environ.get("CAIRN_GOLDENS") == "write":
        example.write_text(text)
    assert example.read_text() == text


def test_our_own_example_loads() -> None:
    config = load_router_config((EXAMPLES / "router.yaml").read_text())
    assert config.asn == 64512
    (group,) = config.groups
    assert group.accepts().permits(parse_network("192.168.1.100/32"))
