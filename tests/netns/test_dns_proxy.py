"""`cairn dns` with real sockets: pods ask as ever, and find what they may ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dns_bed import POD4, POD6, SERVER4, SERVER6, DnsBed, dns_bed

pytestmark = pytest.mark.root

WWW, ANY = 1 << 25, (1 << 25) + 1


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[DnsBed]:
    with dns_bed(tmp_path / "run") as found:
        assert found.policy(
            ["*.example.com", "example.com"], {"www.example.com": WWW, "*.example.com": ANY}
        ) == {"event": "applied", "listeners": 1}
        yield found


@pytest.mark.parametrize("way", ["+notcp", "+tcp"])
@pytest.mark.parametrize(("server", "pod"), [(SERVER4, POD4), (SERVER6, POD6)])
def test_an_answer_comes_from_its_server_and_is_learnt(
    bed: DnsBed, way: str, server: str, pod: str
) -> None:
    bed.server.put("www.example.com", "198.51.100.7", "2001:db8::7")
    said = bed.dig("www.example.com", "A", way, server=server)
    assert "198.51.100.7" in said, said + bed.log()
    assert f"SERVER: {server}#53" in said
    assert bed.server.asked == [(pod, "www.example.com", int(way == "+tcp"))]
    assert sorted(bed.selectors("198.51.100.7")) == [WWW, ANY]
    assert "2001:db8::7" in bed.dig("www.example.com", "AAAA", way, server=server)
    assert sorted(bed.selectors("2001:db8::7")) == [WWW, ANY]
