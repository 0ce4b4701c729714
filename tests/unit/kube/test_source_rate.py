"""The rate that a Service allows one source: read, or named as not enforced."""

from typing import Any

import pytest

from cairn.kube.service import Service
from cairn.kube.unsupported import Weight, unsupported


def service(rate: str | None, protocol: str = "TCP") -> dict[str, Any]:
    return {
        "kind": "Service",
        "metadata": {
            "name": "web",
            "namespace": "default",
            "annotations": {} if rate is None else {"cairn.io/source-rate": rate},
        },
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": protocol}]},
    }


@pytest.mark.parametrize(("text", "rate"), [("5", 5), (" 20 ", 20), ("1000000", 1_000_000)])
def test_a_rate_is_read_and_nothing_is_said(text: str, rate: int) -> None:
    assert Service.from_object(service(text)).source_rate == rate
    assert unsupported(service(text)) == ()


def test_without_a_rate_there_is_none() -> None:
    assert Service.from_object(service(None)).source_rate == 0


@pytest.mark.parametrize("text", ["", "0", "-1", "fast", "10/s", "1.5", "1000001", "9" * 5000, "٣"])
def test_a_rate_that_cannot_be_read_limits_nothing_and_is_named(text: str) -> None:
    assert Service.from_object(service(text)).source_rate == 0
    told = unsupported(service(text))
    assert [(gap.reason, gap.weight) for gap in told] == [("SourceRateNotRead", Weight.UNSAFE)]
    assert "1 to 1000000" in told[0].message


def test_a_rate_on_an_sctp_port_is_named() -> None:
    reasons = [gap.reason for gap in unsupported(service("5", "SCTP"))]
    assert "SourceRateNotEnforced" in reasons
