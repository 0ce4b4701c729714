"""The DNS proxy's state as a line: there and back, and what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.desired.dns_policy import DnsPolicy, load_dns_policy, save_dns_policy
from cairn.desired.reader import ConfigError
from cairn.kube.policy.rule import DnsRule, FqdnPeer

TEXTS = st.text(min_size=1, max_size=20)
PAIRS = st.one_of(TEXTS.map(lambda t: (t, "")), TEXTS.map(lambda t: ("", t)))
POLICIES = st.builds(
    DnsPolicy,
    st.dictionaries(
        st.integers(1, 65535), st.lists(PAIRS.map(lambda p: DnsRule(*p)), max_size=3).map(tuple)
    ),
    st.dictionaries(PAIRS.map(lambda p: FqdnPeer(*p)), st.integers(1, 2**32 - 1)),
)


@given(POLICIES)
def test_there_and_back(policy: DnsPolicy) -> None:
    line = save_dns_policy(policy)
    assert line.count(b"\n") == 1
    assert load_dns_policy(line) == policy


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (3, "policy: 3 is not an object"),
        ({"listener": []}, "policy.listener: unknown field"),
        ({"listeners": [{"port": 70000}]}, "listeners[].port: 70000 is not a number"),
        ({"listeners": [{"rules": []}]}, "required field missing"),
        ({"listeners": [{"port": 1}, {"port": 1}]}, "a port is used twice"),
        ({"listeners": [{"port": 1, "rules": [{"name": 5}]}]}, "rules[].name: 5 is not a text"),
        ({"selectors": [{"identity": 0, "name": "a"}]}, "selectors[].identity: 0 is not"),
        ({"selectors": [{"identity": 1}]}, "either name or pattern"),
        ({"selectors": [{"identity": 1, "name": "a", "pattern": "b"}]}, "either name or pattern"),
    ],
)
def test_what_is_refused(raw: Any, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_dns_policy(json.dumps(raw).encode())
    assert said in str(error.value)


@given(st.binary(max_size=60))
def test_any_octets(octets: bytes) -> None:
    try:
        load_dns_policy(octets)
    except ConfigError:
        return
    assert json.loads(octets) is not None
