"""`netstat -r` shows every next hop, in net-tools' columns."""

from typing import Any

from cairn.lab.netstat import HEADING, table

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
