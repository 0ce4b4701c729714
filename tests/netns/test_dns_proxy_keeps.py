"""What `cairn dns` knows outlives it, stays while it is used, and is where the data plane looks."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from datapath_bed import wait_for
from dns_bed import POD4, PORT, DnsBed, dns_bed, pinned_maps, until

from cairn.abi.flow import FlowFlag, FlowKey, PolicyFlow
from cairn.abi.policy import NameKey, NamePage
from cairn.agent.dns_link import DnsLink, DnsProxyGone, DnsProxyRefused
from cairn.desired.policy import Redirect
from cairn.dnsproxy.keeper import PAUSE_S
from cairn.kube.policy.rule import DnsRule, FqdnPeer, HttpRule

pytestmark = pytest.mark.root

WWW, ANY, LATE = 1 << 25, (1 << 25) + 1, (1 << 25) + 2
RULES = ["*.example.com"]
SELECTORS = {"www.example.com": WWW, "*.example.com": ANY}
ADDRESS = "198.51.100.7"
QUICK = ("--min-ttl=0.2", "--grace=0.2")


@contextlib.contextmanager
def running(tmp_path: Path, *options: str) -> Iterator[DnsBed]:
    with dns_bed(tmp_path / "run", *options) as found:
        assert found.policy(RULES, SELECTORS) == {"event": "applied", "listeners": 1}
        found.server.put("www.example.com", ADDRESS, ttl_s=0)
        yield found


def flow(bed: DnsBed, *, age_s: float = 0, flags: int = FlowFlag.ANSWERED) -> bytes:
    """Put a connection of the pod to ADDRESS into the data plane; return its key."""
    low, high = sorted((POD4, ADDRESS), key=lambda text: ip_address(text).packed)
    ports = (40000, 443) if low == POD4 else (443, 40000)
    key = FlowKey(ip_address(low), ip_address(high), *ports, 6).write()
    if high == POD4:
        flags |= FlowFlag.OPENED_HIGH
    seen_ns = int(time.monotonic_ns() - age_s * 1e9)
    value = PolicyFlow(seen_ns, seen_ns, 1, 1, 1, 1, 1, 1, 1, 1, 0, flags, 0).write()
    bed.maps["policy_flows"].update(key, value)
    return key


def test_a_restart_keeps_state_and_names_and_is_quick(tmp_path: Path) -> None:
    with running(tmp_path) as bed:
        assert ADDRESS in bed.dig("www.example.com")
        took_s = []
        for _ in range(3):
            bed.kill(signal.SIGKILL)
            assert sorted(bed.selectors(ADDRESS)) == [WWW, ANY]
            bed.start()
            took_s.append(bed.processor_s())
            assert ADDRESS in bed.dig("www.example.com"), "nobody has told it anything"
        assert min(took_s) < 0.3, took_s
        assert "starts with what it had: 1 listeners, 2 selectors" in bed.log()
        bed.policy(RULES, {**SELECTORS, "www.*.com": LATE})
        assert sorted(bed.selectors(ADDRESS)) == [WWW, ANY, LATE], "learnt before it was born"


def test_one_that_dies_is_replaced_at_once(tmp_path: Path) -> None:
    with running(tmp_path) as bed:
        assert ADDRESS in bed.dig("www.example.com")
        wait_for(lambda: bed.age_s() > PAUSE_S, "a life that is no false start")
        bed.kill_child()
        until(lambda: "was ended by SIGKILL: another one starts" in bed.log(), "its end")
        took = until(lambda: ADDRESS in bed.dig("www.example.com", "+time=1"), "the next one")
        assert took < PAUSE_S + 2
        assert bed.counters()["queries"] == 1
        bed.kill(signal.SIGTERM)
        assert bed.process is not None
        assert bed.process.returncode == 0
        assert not (bed.run / "dns.sock").exists()


def test_two_do_not_serve_one_socket(tmp_path: Path) -> None:
    with running(tmp_path) as bed:
        argv = [sys.executable, "-m", "cairn", "dns", f"--run={bed.run}"]
        second = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        assert second.returncode == 1
        assert "another process answers there" in second.stderr
        assert ADDRESS in bed.dig("www.example.com")


def test_journal_that_is_cut_off_costs_a_line(tmp_path: Path) -> None:
    with running(tmp_path) as bed:
        assert ADDRESS in bed.dig("www.example.com")
        bed.kill(signal.SIGKILL)
        with (bed.run / "dns-names.jsonl").open("ab") as file:
            file.write(b'["cut.example.com", 12')
        bed.start()
        (entry,) = bed.tell({"get": "names"})["names"]
        assert entry["name"] == "www.example.com"
        assert sorted(bed.selectors(ADDRESS)) == [WWW, ANY]


def test_without_its_files_it_takes_over_what_the_data_plane_holds(tmp_path: Path) -> None:
    with running(tmp_path) as bed:
        assert ADDRESS in bed.dig("www.example.com")
        bed.kill(signal.SIGKILL)
        (bed.run / "dns-names.jsonl").unlink()
        (bed.run / "dns.json").write_text("{")
        bed.start()
        assert sorted(bed.selectors(ADDRESS)) == [WWW, ANY]
        assert "are of names not known any more" in bed.log()
        assert "dns.json is not usable" in bed.log()
        bed.policy(RULES, {"www.example.com": WWW})
        assert bed.selectors(ADDRESS) == [WWW], "a selector that is gone is not kept"


def test_what_nobody_uses_expires(tmp_path: Path) -> None:
    with running(tmp_path, *QUICK) as bed:
        ended = flow(bed, age_s=120, flags=FlowFlag.ANSWERED | FlowFlag.CLOSING)
        assert ADDRESS in bed.dig("www.example.com")
        assert bed.selectors(ADDRESS) != []
        until(lambda: bed.selectors(ADDRESS) == [], "the address to be forgotten")
        wait_for(lambda: bed.maps["policy_flows"].lookup(ended) is None, "the end of what was over")
        assert bed.counters()["expired"] == 1
        assert bed.tell({"get": "names"})["names"] == []


def test_what_a_connection_uses_stays(tmp_path: Path) -> None:
    with running(tmp_path, *QUICK) as bed:
        key = flow(bed)
        assert ADDRESS in bed.dig("www.example.com")
        wait_for(lambda: bed.counters().get("kept for connections", 0) > 0, "a look at the flows")
        assert sorted(bed.selectors(ADDRESS)) == [WWW, ANY]
        assert bed.maps["policy_flows"].lookup(key) is not None
        assert bed.counters().get("expired", 0) == 0


def test_a_map_in_place_of_another_is_filled(tmp_path: Path) -> None:
    with running(tmp_path) as bed:
        assert ADDRESS in bed.dig("www.example.com")
        for held in bed.maps.values():
            held.close()
        bed.maps.update(pinned_maps(bed.pins, 8192))
        assert bed.selectors(ADDRESS) == []
        until(lambda: sorted(bed.selectors(ADDRESS)) == [WWW, ANY], "the new map to be filled")


def test_without_a_map_no_answer_leads_to_a_wall(tmp_path: Path) -> None:
    with running(tmp_path) as bed:
        for held in bed.maps.values():
            held.close()
        for path in bed.pins.iterdir():
            path.unlink()
        until(lambda: "status: SERVFAIL" in bed.dig("www.example.com"), "the map to be missed")
        assert "does the agent run?" in bed.log()
        bed.server.put("plain.example.org", "198.51.100.9")
        bed.policy([*RULES, "plain.example.org"], SELECTORS)
        assert "198.51.100.9" in bed.dig("plain.example.org"), "no selector wants it"
        bed.maps.update(pinned_maps(bed.pins))
        until(lambda: ADDRESS in bed.dig("www.example.com"), "the new map")
        assert sorted(bed.selectors(ADDRESS)) == [WWW, ANY]


def test_a_full_map_is_said_and_what_stands_stays(tmp_path: Path) -> None:
    with running(tmp_path) as bed:
        assert ADDRESS in bed.dig("www.example.com")
        names, number = bed.maps["policy_names"], 0
        with contextlib.suppress(Exception):
            while True:
                key = NameKey(ip_address("192.168.0.0") + number, 0)
                names.update(key.write(), NamePage(bytes(32)).write())
                number += 1
        assert number > 4000
        bed.server.put("more.example.com", "198.51.100.8")
        assert "status: SERVFAIL" in bed.dig("more.example.com")
        assert bed.counters()["write failures"] > 0
        assert "is not in the data plane" in bed.log()
        assert ADDRESS in bed.dig("www.example.com")
        for gone in range(number):
            names.delete(NameKey(ip_address("192.168.0.0") + gone, 0).write())
        until(lambda: bed.selectors("198.51.100.8") == [ANY], "room")
        assert bed.counters()["addresses unwritten"] == 0


def test_many_selectors_of_one_address_fill_pages(tmp_path: Path) -> None:
    with running(tmp_path) as bed:
        wanted = {f"{'*' * (n % 2)}n{n}.example.com": 1000 + n for n in range(20)}
        bed.policy(RULES, wanted)
        for n in range(20):
            bed.server.put(f"n{n}.example.com", "198.51.100.20")
            assert "198.51.100.20" in bed.dig(f"n{n}.example.com", "+short")
        assert sorted(bed.selectors("198.51.100.20")) == sorted(wanted.values())
        bed.policy(RULES, {"n3.example.com": 2003, "n9.example.com": 1009})
        assert sorted(bed.selectors("198.51.100.20")) == [1009, 2003]
        second = NameKey(ip_address("198.51.100.20"), 1).write()
        assert bed.maps["policy_names"].lookup(second) is None


async def test_the_agent_tells_and_asks(tmp_path: Path) -> None:
    with running(tmp_path) as bed:
        link = DnsLink(bed.run / "dns.sock")
        names = {FqdnPeer(pattern="*.example.com"): ANY}
        redirects = {
            PORT: Redirect(dns=(DnsRule("www.example.com"),)),
            PORT + 1: Redirect(http=(HttpRule(),)),
        }
        await link.serve(redirects, names)
        assert "status: NOERROR" in bed.dig("www.example.com")
        assert "status: NXDOMAIN" in bed.dig("other.example.com")
        assert (await link.get("counters"))["counters"]["listeners"] == 1
        assert (await link.get("names"))["names"][0]["selectors"] == [ANY]
        with bed.node_listener(PORT + 2), pytest.raises(DnsProxyRefused, match="15002"):
            await link.serve({PORT + 2: Redirect(dns=())}, names)


async def test_the_agent_tells_later_what_it_cannot_tell_now(tmp_path: Path) -> None:
    with running(tmp_path) as bed:
        link = DnsLink(bed.run / "dns.sock")
        bed.kill(signal.SIGKILL)
        following = asyncio.create_task(link.run())
        with pytest.raises(DnsProxyGone):
            await link.serve({PORT: Redirect(dns=(DnsRule("late.example.com"),))}, {})
        bed.start()
        async with asyncio.timeout(10):
            while "status: NXDOMAIN" not in await asyncio.to_thread(bed.dig, "www.example.com"):
                await asyncio.sleep(0.05)
        following.cancel()
