"""Plans for each kind of router: complete, confined to their directory, and what they refuse."""

from pathlib import Path

import pytest

from cairn.router.config import load_router_config
from cairn.router.daemons import KINDS, RouterPlan, plan_router

WHERE = Path("/run/cairn/home/router")


def plan(kind: str, password: str | None = None) -> RouterPlan:
    return plan_router(
        kind,
        directory=WHERE,
        asn=64512,
        router_id="192.168.1.1",
        peer_networks=["192.168.1.0/24", "fd00::/64"],
        listen=["192.168.1.1"],
        password=password,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_plan_is_complete(kind: str) -> None:
    made = plan(kind)
    assert made.files
    assert all(path.parent == WHERE for path in made.files)
    assert made.processes
    assert len({process.name for process in made.processes}) == len(made.processes)
    assert made.ready[: len(made.bgpctl)] == made.bgpctl or kind in ("frr", "bird")
    assert made.sysctls["net.ipv4.fib_multipath_hash_policy"] == "1"
    (text,) = (f.text for p, f in made.files.items() if p.name not in ("zebra.conf",))
    assert "192.168.1.0/24" in text
    assert "64512" in text


def test_our_own_plans_configuration_loads() -> None:
    (file,) = plan("cairn", password="s3cret").files.values()
    config = load_router_config(file.text)
    assert [group.password for group in config.groups] == ["s3cret", "s3cret"]
    assert file.mode == 0o600


def test_openbgpd_takes_no_password() -> None:
    with pytest.raises(ValueError, match="MD5"):
        plan("openbgpd", password="s3cret")


def test_unknown_kind_names_the_known() -> None:
    with pytest.raises(ValueError, match="frr, bird"):
        plan("quagga")
