"""Malformed UPDATEs end as RFC 7606 says, attribute by attribute."""

from ipaddress import ip_address, ip_network

import pytest
from bgp_vectors import session

from cairn.bgp.attribute.communities import NO_EXPORT, parse_community
from cairn.bgp.attribute.kind import UnknownAttribute
from cairn.bgp.error import UpdateError, Violation
from cairn.bgp.message.update import read_update, write_announcements
from cairn.bgp.treatment import Treatment
from cairn.wire import Malformed

IBGP, EBGP = session(), session(ibgp=False)
PREFIX = ip_network("198.51.100.0/24")
ORIGIN, PATH, HOP = "40010100", "400200", "400304c0a8010a"
PREF = "40050400000064"
EPATH = "4002060201 0000fc01"
GOOD = ORIGIN + PATH + HOP + PREF
WITHDRAW, DISCARD = Treatment.TREAT_AS_WITHDRAW, Treatment.DISCARD_ATTRIBUTE


def body(attributes: str, nlri: str = "18c63364", withdrawn: str = "") -> bytes:
    gone, octets = bytes.fromhex(withdrawn), bytes.fromhex(attributes)
    head = len(gone).to_bytes(2, "big") + gone + len(octets).to_bytes(2, "big")
    return head + octets + bytes.fromhex(nlri)


@pytest.mark.parametrize(
    ("attributes", "treatment", "what"),
    [
        (GOOD.replace(ORIGIN, "40010103"), WITHDRAW, "ORIGIN: origin 3"),
        (GOOD.replace(ORIGIN, "4001020000"), WITHDRAW, "ORIGIN: length 2"),
        (GOOD.replace(ORIGIN, "c0010100"), WITHDRAW, "ORIGIN: flags 0xc0, not 0x40"),
        (GOOD.replace(ORIGIN, ""), WITHDRAW, "ORIGIN: missing"),
        (GOOD.replace(PATH, ""), WITHDRAW, "AS_PATH: missing"),
        (GOOD.replace(PATH, "4002020200"), WITHDRAW, "AS_PATH: empty segment"),
        (GOOD.replace(HOP, ""), WITHDRAW, "NEXT_HOP: missing"),
        (GOOD.replace(HOP, "400303c0a801"), WITHDRAW, "NEXT_HOP: 4 octets wanted"),
        (GOOD.replace(PREF, ""), WITHDRAW, "LOCAL_PREF: missing"),
        (GOOD.replace(PREF, "40050300 0064"), WITHDRAW, "LOCAL_PREF: 4 octets wanted"),
        (GOOD + "80040132", WITHDRAW, "MULTI_EXIT_DISC: 4 octets wanted"),
        (GOOD + "40060100", DISCARD, "ATOMIC_AGGREGATE: length 1"),
        (GOOD + "c0070400000001", DISCARD, "AGGREGATOR: 4 octets wanted"),
        (GOOD + "80070800000001 0a000001", WITHDRAW, "AGGREGATOR: flags 0x80, not 0xc0"),
        (GOOD + "c00803fc0000", WITHDRAW, "COMMUNITIES: length 3"),
        (GOOD + "800903c0a801", WITHDRAW, "ORIGINATOR_ID: 4 octets wanted"),
        (GOOD + "800a00", WITHDRAW, "CLUSTER_LIST: length 0"),
        (GOOD + "c01004fc000064", WITHDRAW, "EXTENDED_COMMUNITIES: length 4"),
        (GOOD + "c02004fc000064", WITHDRAW, "LARGE_COMMUNITY: length 4"),
        (GOOD + "c0110102", DISCARD, "AS4_PATH: 1 octets wanted"),
        (GOOD + ORIGIN, DISCARD, "ORIGIN: there twice"),
        (GOOD + "40", WITHDRAW, "attribute list: 1 octets wanted"),
        (GOOD + "c008ff00", WITHDRAW, "attribute list: 255 octets wanted"),
    ],
)
def test_treatment(attributes: str, treatment: Treatment, what: str) -> None:
    update = read_update(body(attributes), IBGP)
    assert [one.treatment for one in update.findings] == [treatment]
    assert str(update.findings[0]).startswith(what)
    announced = [one.prefixes for one in update.reachable]
    if treatment is WITHDRAW:
        assert update.withdrawn == (PREFIX,)
        assert not announced
    else:
        assert announced == [(PREFIX,)]


@pytest.mark.parametrize(
    ("octets", "subcode"),
    [
        (body(GOOD, nlri="21c0a8016400"), UpdateError.INVALID_NETWORK_FIELD),
        (body(GOOD, nlri="18c633"), UpdateError.INVALID_NETWORK_FIELD),
        (body(GOOD, withdrawn="ff"), UpdateError.INVALID_NETWORK_FIELD),
        (bytes.fromhex("00ff0000"), UpdateError.MALFORMED_ATTRIBUTE_LIST),
        (bytes.fromhex("000000ff"), UpdateError.MALFORMED_ATTRIBUTE_LIST),
        (bytes.fromhex("0000"), UpdateError.MALFORMED_ATTRIBUTE_LIST),
        (body(GOOD + "40630100"), UpdateError.UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE),
        (body(GOOD + "800f03000101" * 2), UpdateError.MALFORMED_ATTRIBUTE_LIST),
        (body(GOOD + "800e0900020104c0a8010a00"), UpdateError.OPTIONAL_ATTRIBUTE_ERROR),
        (body(GOOD + "800f0400010121"), UpdateError.OPTIONAL_ATTRIBUTE_ERROR),
        (body(GOOD + "c00f03000101"), UpdateError.ATTRIBUTE_FLAGS_ERROR),
        # a wrong attribute, and nothing that it could belong to (RFC 7606 s5.2)
        (body("40010103", nlri=""), UpdateError.INVALID_ORIGIN_ATTRIBUTE),
    ],
)
def test_what_still_ends_the_session(octets: bytes, subcode: UpdateError) -> None:
    with pytest.raises(Violation) as wrong:
        read_update(octets, IBGP)
    assert wrong.value.subcode is subcode


@pytest.mark.parametrize("attribute", [PREF, "800904c0a8010a", "800a04c0a8010a"])
def test_internal_attributes_from_an_external_peer_are_discarded(attribute: str) -> None:
    update = read_update(body(ORIGIN + EPATH + HOP + attribute), EBGP)
    assert [one.treatment for one in update.findings] == [DISCARD]
    (part,) = update.reachable
    assert part.attributes.local_pref is None
    assert part.attributes.originator_id is None
    assert part.attributes.cluster_list == ()


def test_an_unknown_transitive_attribute_is_passed_on_as_partial() -> None:
    update = read_update(body(GOOD + "c063020102"), IBGP)
    (part,) = update.reachable
    assert part.attributes.unknown == (UnknownAttribute(99, b"\x01\x02"),)
    (again,) = write_announcements(part.prefixes, part.attributes, IBGP)
    assert again.hex().count("e063020102") == 1


def test_an_unknown_non_transitive_attribute_ends_here() -> None:
    (part,) = read_update(body(GOOD + "8063020102"), IBGP).reachable
    assert part.attributes.unknown == ()


def test_a_family_that_was_not_negotiated_is_ignored_and_named() -> None:
    update = read_update(body(GOOD + "800f03000180", nlri="18c63364"), IBGP)
    assert "afi 1 safi 128 was not negotiated" in str(update.findings[0])
    assert update.reachable[0].prefixes == (PREFIX,)


def test_a_finding_does_not_hide_the_other_family() -> None:
    mp = "800e 1e 0002 01 10 20010db8000000000000000000000001 00 40 20010db800010000"
    update = read_update(body(GOOD + mp.replace(" ", "")), IBGP)
    four, six = update.reachable
    assert four.attributes.next_hop == ip_address("192.168.1.10")
    assert six.attributes.next_hop == ip_address("2001:db8::1")
    assert six.prefixes == (ip_network("2001:db8:1::/64"),)


def test_communities_have_names() -> None:
    assert str(parse_community("no-export")) == "no-export"
    assert parse_community("65535:65281") == NO_EXPORT
    assert str(parse_community("64512:100")) == "64512:100"
    for text in ("64512", "a:b", "65536:1", "1:65536", ""):
        with pytest.raises(ValueError, match="is no community"):
            parse_community(text)


def test_malformed_is_the_only_error() -> None:
    assert issubclass(Violation, Malformed)


@pytest.mark.parametrize(("asn", "path"), [("5ba0", "70000"), ("fbf0", "23456")])
def test_an_old_speaker_that_aggregated_makes_the_new_numbers_stale(asn: str, path: str) -> None:
    old = session(as4=False)
    parts = ORIGIN + "4002040201 5ba0" + HOP + PREF + f"c00706{asn}0a000001"
    parts += "c011060201 00011170" + "c01208000111700a000001"
    (part,) = read_update(body(parts.replace(" ", "")), old).reachable
    assert str(part.attributes.as_path) == path
    assert part.attributes.aggregator is not None
    assert part.attributes.aggregator.asn == (70000 if asn == "5ba0" else 0xFBF0)
