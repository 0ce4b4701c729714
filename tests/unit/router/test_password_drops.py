"""The kernel's counters of wrong passwords."""

from pathlib import Path

from cairn.router.password_drops import describe_growth, parse_netstat, read_password_drops

TEXT = """TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure TCPSackShifted
TcpExt: 0 4 5 6 7
IpExt: InNoRoutes InTruncatedPkts
IpExt: 1 2
"""


def test_counters_by_name() -> None:
    assert parse_netstat(TEXT) == {
        "TCPMD5NotFound": 4,
        "TCPMD5Unexpected": 5,
        "TCPMD5Failure": 6,
    }
    assert parse_netstat("") == {}


def test_only_growth_is_told() -> None:
    now = parse_netstat(TEXT)
    assert describe_growth(now, now) == []
    (line,) = describe_growth({**now, "TCPMD5Failure": 4}, now)
    assert "2 TCP segments" in line
    assert "wrong password" in line


def test_this_kernels_file_is_read() -> None:
    names = parse_netstat(Path("/proc/self/net/netstat").read_text()).keys()
    assert read_password_drops().keys() == names
