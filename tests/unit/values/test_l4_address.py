"""Endpoints as text, and back."""

import pytest

from cairn.net import parse_l4_address


@pytest.mark.parametrize("text", ["10.0.0.1:80/TCP", "[fd00::1]:53/UDP", "0.0.0.0:0/SCTP"])
def test_text_comes_back(text: str) -> None:
    assert str(parse_l4_address(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.1:80",
        "10.0.0.1/TCP",
        "10.0.0.1:80/tcp",
        "10.0.0.1:65536/TCP",
        "10.0.0.1:٣/TCP",
        "fd00::1:80/TCP",
        "[10.0.0.1]:80/TCP",
        "web:80/TCP",
        "10.0.0.1:-1/TCP",
    ],
)
def test_what_is_no_endpoint_raises(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_l4_address(text)
