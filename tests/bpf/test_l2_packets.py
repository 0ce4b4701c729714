"""ARP and ND for service addresses at the uplink, and frames that are for another host."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import packets
import pytest
import trial
from packets import ethernet, ip4
from trial import CLIENT, NEXT, PEER, REDIRECT, ROUTER, UPLINK, Trial, loaded

from cairn.abi.address import write_address
from cairn.abi.structs import Vip, VipFlag
from cairn.abi.verdicts import Verdict
from cairn.ethernet import arp, nd
from cairn.ethernet.claim import Claim, claim_of
from cairn.net import Address

pytestmark = pytest.mark.bpf

OURS, OTHERS = IPv4Address("192.168.1.100"), IPv4Address("192.168.1.101")
EXTERNAL = IPv4Address("192.168.1.102")
OURS6, OTHERS6 = IPv6Address("fd00:1::64"), IPv6Address("fd00:1::65")
ASKER = IPv4Address("192.168.1.50")


@pytest.fixture
def node() -> Iterator[Trial]:
    """A node that answers for some of its addresses."""
    with loaded() as found:
        flags: dict[Address, VipFlag] = {
            OURS: VipFlag.PING | VipFlag.ARP,
            OTHERS: VipFlag.PING,
            EXTERNAL: VipFlag.SHARED | VipFlag.ARP,
            OURS6: VipFlag.PING | VipFlag.ARP,
            OTHERS6: VipFlag.PING,
        }
        for address, value in flags.items():
            found.maps["vips"].update(write_address(address), Vip(value).write())
        yield found


def question(target: IPv4Address, sender: IPv4Address = ASKER) -> bytes:
    return arp.write_arp(arp.Arp(arp.Operation.REQUEST, ROUTER, sender, arp.NOBODY, target))


@pytest.mark.parametrize("sender", [ASKER, arp.UNSPECIFIED], ids=["question", "probe"])
@pytest.mark.parametrize("address", [OURS, EXTERNAL], ids=["load balancer", "external"])
def test_who_asks_for_an_address_of_ours_is_answered(
    node: Trial, address: IPv4Address, sender: IPv4Address
) -> None:
    run, verdict = node.judged(question(address, sender))
    assert (run.verdict, verdict) == (REDIRECT, Verdict.ARP_ANSWERED)
    answer = arp.read_arp(run.packet)
    assert answer == arp.Arp(arp.Operation.REPLY, UPLINK, address, ROUTER, sender)
    assert run.packet[:6] == ROUTER


def test_who_probes_for_an_ipv6_address_of_ours_is_answered(node: Trial) -> None:
    run, verdict = node.judged(nd.probe(OURS6, ROUTER))
    assert (run.verdict, verdict) == (REDIRECT, Verdict.ND_ANSWERED)
    assert claim_of(run.packet) == Claim(OURS6, UPLINK)
    assert run.packet[:6] == nd.multicast_mac(nd.ALL_NODES)


PASSED = {
    "another node's": question(OTHERS),
    "nobody's": question(IPv4Address("192.168.1.200")),
    "another node's IPv6": nd.probe(OTHERS6, ROUTER),
    "an answer": arp.write_arp(
        arp.Arp(arp.Operation.REPLY, ROUTER, OURS, UPLINK, ASKER), destination=UPLINK
    ),
    "someone announces ours": arp.announcement(OURS, ROUTER),
    "someone announces ours, IPv6": nd.announcement(OURS6, ROUTER, IPv6Address("fd00:1::32")),
}


@pytest.mark.parametrize("case", PASSED)
def test_the_rest_reaches_the_stack_where_the_agent_hears_it(node: Trial, case: str) -> None:
    run, verdict = node.judged(PASSED[case])
    assert (run.verdict, verdict) == (NEXT, Verdict.PASS)
    assert run.packet == PASSED[case]


@pytest.mark.parametrize("to", [trial.VIP, trial.FREE, trial.POD])
def test_a_flooded_frame_is_for_the_host_that_it_names_alone(node: Trial, to: str) -> None:
    """A switch that has forgotten where node-2 is must not make all nodes answer."""
    segment = packets.tcp((CLIENT, 40000), (to, trial.LOCAL_PORT), packets.SYN)
    packet = ip4(segment, source=CLIENT, destination=to, protocol=packets.TCP)
    flooded = ethernet(packet, source=ROUTER, destination=PEER)
    run, verdict = node.judged(flooded)
    assert (run.verdict, verdict) == (NEXT, Verdict.PASS)
    ours = ethernet(packet, source=ROUTER, destination=UPLINK)
    assert node.judged(ours)[0].verdict == REDIRECT
