"""`netstat -r` shows every next hop, in net-tools' columns."""

from typing import Any

import pytest

from cairn.lab.netstat import HEADING, HEADING6, letters_of, table, table6

ROUTES: list[dict[str, Any]] = [
    {"dst": "default", "gateway": "192.168.1.1", "dev": "eth0"},
    {"dst": "192.168.1.0/24", "dev": "eth0", "protocol": "kernel"},
    {
        "dst": "192.168.1.100",
        "protocol": "bgp",
        "nexthops": [
            {"gateway": "192.168.1.10", "dev": "eth0", "weight": 1},
            {"gateway": "192.168.1.11", "dev": "eth0", "weight": 1},
        ],
    },
    {"type": "unreachable", "dst": "192.168.1.96/28"},
]


def test_one_line_a_next_hop() -> None:
    rows = [line.split() for line in table(ROUTES)]
    assert [(r[0], r[1], r[2], r[3], r[-1]) for r in rows] == [
        ("0.0.0.0", "192.168.1.1", "0.0.0.0", "UG", "eth0"),
        ("192.168.1.0", "0.0.0.0", "255.255.255.0", "U", "eth0"),
        ("192.168.1.100", "192.168.1.10", "255.255.255.255", "UGH", "eth0"),
        ("192.168.1.100", "192.168.1.11", "255.255.255.255", "UGH", "eth0"),
        ("192.168.1.96", "0.0.0.0", "255.255.255.240", "!", "*"),
    ]


def test_columns_stand_under_their_headings() -> None:
    heading = HEADING.splitlines()[1]
    for line in table(ROUTES):
        for name in ("Destination", "Gateway", "Genmask", "Flags", "Iface"):
            at = heading.index(name)
            assert line[at] != " "
            assert at == 0 or line[at - 1] == " "


ROUTES6: list[dict[str, Any]] = [
    {"dst": "fd00:1::/64", "dev": "eth0", "metric": 256},
    {
        "dst": "2001:db8:f::1",
        "metric": 20,
        "nexthops": [
            {"gateway": "fd00:1::10", "dev": "eth0"},
            {"gateway": "fd00:1::11", "dev": "eth0"},
        ],
    },
    {"dst": "default", "gateway": "fd00:1::1", "dev": "eth0", "metric": 1024},
    {"type": "unreachable", "dst": "2001:db8:f::/112", "dev": "lo", "metric": 1024},
]


def test_one_line_a_next_hop_of_ipv6() -> None:
    assert [tuple(line.split()) for line in table6(ROUTES6)] == [
        ("fd00:1::/64", "::", "U", "256", "eth0"),
        ("2001:db8:f::1/128", "fd00:1::10", "UGH", "20", "eth0"),
        ("2001:db8:f::1/128", "fd00:1::11", "UGH", "20", "eth0"),
        ("::/0", "fd00:1::1", "UG", "1024", "eth0"),
        ("2001:db8:f::/112", "::", "!", "1024", "lo"),
    ]
    heading = HEADING6.splitlines()[1]
    assert [heading.index(word) for word in ("Next", "Flag", "Met", "Iface")] == [31, 58, 63, 67]


@pytest.mark.parametrize(
    ("words", "letters"),
    [
        (["-rn"], "rn"),
        (["-6", "-rn"], "6rn"),
        (["-rn", "-A", "inet6"], "6rn"),
        (["-rnA", "inet6"], "rnA6"),
        (["--route", "--numeric", "--inet6"], "6rn"),
        (["-r", "--protocol=inet6"], "6r"),
        (["-r46"], "r46"),
        (["-rnee"], "rne"),
        (["-r", "--wide"], "r?"),
        (["-r", "-A", "ipx"], "r?"),
    ],
)
def test_options(words: list[str], letters: str) -> None:
    assert letters_of(words) == set(letters)
