"""The cluster's names by example: objects in, answers out."""

from ipaddress import ip_address
from typing import Any

import pytest

from cairn.dns import Question, Rcode, Srv, Type, parse_name, spell_name
from cairn.kube.metadata import Key
from cairn.lab.dns_zone import Zone


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


@pytest.fixture
def zone() -> Zone:
    found = Zone()
    port = {"name": "http", "port": 80}
    web = service("web", clusterIP="10.96.3.4", clusterIPs=["10.96.3.4", "fd00::4"], ports=[port])
    found.put_service(Key("default", "web"), web)
    found.put_service(Key("default", "db"), service("db", clusterIP="None"))
    item = {
        "endpoints": [
            {"addresses": ["10.244.1.5"], "conditions": {"ready": True}, "hostname": "db-0"},
            {"addresses": ["10.244.2.5"], "conditions": {"ready": True}},
            {"addresses": ["10.244.3.5"], "conditions": {"ready": False}},
        ],
        "ports": [{"name": "sql", "protocol": "TCP", "port": 5432}],
    }
    found.put_slice(Key("default", "db"), "db-x", item)
    item = {
        "endpoints": [
            {"addresses": ["fd00:1::5"], "conditions": {"ready": True}, "hostname": "db-0"},
            {"addresses": ["fd00:2::5"], "conditions": {"ready": True}},
        ],
        "ports": [{"name": "sql", "protocol": "TCP", "port": 5432}],
    }
    found.put_slice(Key("default", "db"), "db-y", item | {"addressType": "IPv6"})
    names = [{"addresses": ["db.example.org"], "conditions": {"ready": True}}]
    found.put_slice(Key("default", "db"), "db-z", {"addressType": "FQDN", "endpoints": names})
    alias = service("alias", type="ExternalName", externalName="web.default.svc.cluster.local")
    found.put_service(Key("default", "alias"), alias)
    outer = service("outer", type="ExternalName", externalName="example.org")
    found.put_service(Key("default", "outer"), outer)
    return found


def ask(zone: Zone, name: str, kind: Type) -> tuple[Rcode, list[str]]:
    answer = zone.answer(Question(parse_name(name), kind))
    texts = []
    for record in answer.records:
        data = record.data
        if isinstance(data, tuple):
            texts.append(spell_name(data))
        elif isinstance(data, Srv):
            texts.append(f"{data.port} {spell_name(data.target)}")
        else:
            texts.append(str(data))
    return answer.rcode, sorted(texts)


def reverse_pointer(address: str) -> str:
    return ip_address(address).reverse_pointer


SVC = "default.svc.cluster.local"
ANSWERS = [
    (f"web.{SVC}", Type.A, Rcode.NOERROR, ["10.96.3.4"]),
    (f"WEB.{SVC}", Type.A, Rcode.NOERROR, ["10.96.3.4"]),
    (f"web.{SVC}", Type.AAAA, Rcode.NOERROR, ["fd00::4"]),
    (f"_http._tcp.web.{SVC}", Type.SRV, Rcode.NOERROR, [f"80 web.{SVC}."]),
    (f"_http._udp.web.{SVC}", Type.SRV, Rcode.NXDOMAIN, []),
    (f"_tcp.web.{SVC}", Type.A, Rcode.NOERROR, []),
    (f"db.{SVC}", Type.A, Rcode.NOERROR, ["10.244.1.5", "10.244.2.5"]),
    (f"db-0.db.{SVC}", Type.A, Rcode.NOERROR, ["10.244.1.5"]),
    (f"10-244-2-5.db.{SVC}", Type.A, Rcode.NOERROR, ["10.244.2.5"]),
    (
        f"_sql._tcp.db.{SVC}",
        Type.SRV,
        Rcode.NOERROR,
        [f"5432 10-244-2-5.db.{SVC}.", f"5432 db-0.db.{SVC}.", f"5432 fd00-2--5.db.{SVC}."],
    ),
    (f"db.{SVC}", Type.AAAA, Rcode.NOERROR, ["fd00:1::5", "fd00:2::5"]),
    (f"db-0.db.{SVC}", Type.AAAA, Rcode.NOERROR, ["fd00:1::5"]),
    (f"fd00-2--5.db.{SVC}", Type.AAAA, Rcode.NOERROR, ["fd00:2::5"]),
    (f"fd00-2--5.db.{SVC}", Type.A, Rcode.NOERROR, []),
    (f"nothing.{SVC}", Type.A, Rcode.NXDOMAIN, []),
    (f"x.web.{SVC}", Type.A, Rcode.NXDOMAIN, []),
    (SVC, Type.A, Rcode.NOERROR, []),
    ("svc.cluster.local", Type.A, Rcode.NOERROR, []),
    ("cluster.local", Type.A, Rcode.NOERROR, []),
    ("10-244-1-7.default.pod.cluster.local", Type.A, Rcode.NOERROR, ["10.244.1.7"]),
    ("fd00-10-244-1--7.default.pod.cluster.local", Type.AAAA, Rcode.NOERROR, ["fd00:10:244:1::7"]),
    ("fd00--1-2.default.pod.cluster.local", Type.AAAA, Rcode.NOERROR, ["fd00::1:2"]),
    ("10-244-1-700.default.pod.cluster.local", Type.A, Rcode.NXDOMAIN, []),
    ("4.3.96.10.in-addr.arpa", Type.PTR, Rcode.NOERROR, [f"web.{SVC}."]),
    ("5.1.244.10.in-addr.arpa", Type.PTR, Rcode.NOERROR, [f"db-0.db.{SVC}."]),
    (reverse_pointer("fd00::4"), Type.PTR, Rcode.NOERROR, [f"web.{SVC}."]),
    (reverse_pointer("fd00:1::5"), Type.PTR, Rcode.NOERROR, [f"db-0.db.{SVC}."]),
    (f"alias.{SVC}", Type.AAAA, Rcode.NOERROR, ["fd00::4", f"web.{SVC}."]),
    (f"alias.{SVC}", Type.A, Rcode.NOERROR, ["10.96.3.4", f"web.{SVC}."]),
    (f"outer.{SVC}", Type.A, Rcode.NOERROR, ["example.org."]),
]


@pytest.mark.parametrize(("name", "kind", "rcode", "texts"), ANSWERS)
def test_answers(zone: Zone, name: str, kind: Type, rcode: Rcode, texts: list[str]) -> None:
    assert ask(zone, name, kind) == (rcode, texts)


def test_an_outer_alias_is_handed_on(zone: Zone) -> None:
    question = Question(parse_name(f"outer.{SVC}"), Type.A)
    assert zone.answer(question).alias == parse_name("example.org")


def test_a_removed_service_leaves_nothing(zone: Zone) -> None:
    before = zone.serial
    for name in ("web", "alias", "outer", "db"):
        zone.put_service(Key("default", name), None)
    assert ask(zone, f"web.{SVC}", Type.A) == (Rcode.NXDOMAIN, [])
    assert ask(zone, SVC, Type.A) == (Rcode.NXDOMAIN, [])
    assert not zone.holds(parse_name("4.3.96.10.in-addr.arpa"))
    assert zone.serial > before


def test_aliases_in_a_circle_end() -> None:
    zone = Zone()
    for one, other in (("a", "b"), ("b", "a")):
        spec = service(one, type="ExternalName", externalName=f"{other}.{SVC}")
        zone.put_service(Key("default", one), spec)
    assert ask(zone, f"a.{SVC}", Type.A)[0] == Rcode.SERVFAIL


def test_what_the_zone_holds(zone: Zone) -> None:
    assert zone.holds(parse_name("anything.cluster.local"))
    assert not zone.holds(parse_name("example.org"))
    assert not zone.holds(parse_name("cluster.local.example.org"))
