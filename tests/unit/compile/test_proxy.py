"""What Envoy is given for redirects: taken by Envoy itself, and no wider than the rules."""

import re
from pathlib import Path
from typing import Any

import pytest

from cairn.agent.envoy_refusal import ask
from cairn.apply.proxy_files import ProxyFiles
from cairn.compile.proxy import bootstrap, compile_proxy, secrets_of, trial
from cairn.compile.proxy_routes import DENIED, pattern, route_configuration
from cairn.desired.policy import Redirect
from cairn.desired.proxy import PROXY_PORTS, ProxyState
from cairn.kube.policy.rule import Direction, DnsRule, HeaderMatch, HttpRule

NOWHERE = Path("/nowhere")
SECRET = ("shop", "token")
RULES = (
    HttpRule(method="GET", path="/public/.*"),
    HttpRule(method="GET|HEAD", path="/v[0-9]+/items/\\d+", host="shop\\.example(:80)?"),
    HttpRule(headers=(HeaderMatch("x-must", None), HeaderMatch("x-is", "1"))),
    HttpRule(headers=(HeaderMatch("x-secret", None, secret=SECRET),)),
    HttpRule(
        path="/mended",
        headers=(
            HeaderMatch("x-log", "1", "LOG"),
            HeaderMatch("x-add", "100%", "ADD"),
            HeaderMatch("x-delete", "3", "DELETE"),
            HeaderMatch("x-replace", "4", "REPLACE"),
        ),
    ),
    HttpRule(),
)
NAMES = ("*.example.com", "**.example.org", "exact.example")


def routes(*rules: HttpRule, secrets: dict[tuple[str, str], str] | None = None) -> list[Any]:
    found = route_configuration("r", rules, secrets or {})
    return list(found["virtual_hosts"][0]["routes"])


async def test_envoy_takes_all_that_is_made(tmp_path: Path) -> None:
    redirects = {
        15001: Redirect(http=RULES),
        15002: Redirect(http=(), direction=Direction.INGRESS),
        15003: Redirect(server_names=NAMES),
        15004: Redirect(http=RULES[:1], server_names=NAMES),
    }
    state = compile_proxy(redirects, tmp_path, {SECRET: "value"})
    ProxyFiles(tmp_path).write(state)
    whole = {**bootstrap("node-1", tmp_path)}
    whole["static_resources"] = {
        **whole["static_resources"],
        "listeners": [
            {key: value for key, value in listener.items() if key != "@type"}
            for listener in state.listeners.values()
        ],
    }
    del whole["dynamic_resources"]
    assert await ask(whole) == ""
    for resource in state.routes.values():
        assert await ask(trial(resource)) == ""


async def test_envoy_says_what_it_does_not_take() -> None:
    assert "(?=" in await ask(trial(route_configuration("r", [HttpRule(path="(?=x)")], {})))


def test_every_listener_ends_in_a_denial() -> None:
    for rules in ((), RULES):
        last = routes(*rules)[-1]
        assert last["name"] == DENIED
        assert last["direct_response"]["status"] == 403
        assert last["match"] == {"prefix": ""}


def test_dns_is_not_envoys() -> None:
    redirects = {15001: Redirect(dns=(DnsRule(name="a"),)), 15002: Redirect(http=RULES)}
    state = compile_proxy(redirects, NOWHERE)
    assert set(state.listeners) == set(state.routes) == {15002}


def test_a_listener_does_not_depend_on_its_rules() -> None:
    one, other = (
        compile_proxy({15001: Redirect(http=rules)}, NOWHERE).listeners for rules in (RULES, ())
    )
    assert one == other


def test_a_leaving_listener_has_routes_alone() -> None:
    state = compile_proxy({}, NOWHERE, leaving={15001: Redirect(http=RULES[:1])})
    assert state == ProxyState(routes=state.routes)
    assert len(state.routes[15001]["virtual_hosts"][0]["routes"]) == 2


@pytest.mark.parametrize(
    ("expression", "match"),
    [
        ("/a", {"exact": "/a"}),
        ("/a\\.b", {"exact": "/a.b"}),
        ("/a/.*", {"prefix": "/a/"}),
        ("/a.b", {"safe_regex": {"regex": "/a.b"}}),
        ("GET|PUT", {"safe_regex": {"regex": "GET|PUT"}}),
        (".*", {"safe_regex": {"regex": ".*"}}),
        ("/a$", {"safe_regex": {"regex": "/a$"}}),
        ("/\\d", {"safe_regex": {"regex": "/\\d"}}),
        ("/a\\.*", {"safe_regex": {"regex": "/a\\.*"}}),
        ("(?i)/a.*", {"safe_regex": {"regex": "(?i)/a.*"}}),
    ],
)
def test_a_plain_word_is_compared_as_a_word(expression: str, match: dict[str, Any]) -> None:
    assert pattern(":path", expression)["string_match"] == match


@pytest.mark.parametrize("text", ["/a", "/a.b", "/aXb", "/a/", "/a/x", "/a..", "/b/a/"])
@pytest.mark.parametrize("expression", ["/a", "/a\\.b", "/a/.*", "/a.b", "/a\\.*"])
def test_words_mean_what_the_expression_means(expression: str, text: str) -> None:
    match = pattern(":path", expression)["string_match"]
    if "exact" in match:
        found = text == match["exact"]
    elif "prefix" in match:
        found = text.startswith(match["prefix"])
    else:
        found = re.fullmatch(match["safe_regex"]["regex"], text) is not None
    assert found == (re.fullmatch(expression, text) is not None)


def test_a_secret_that_is_not_there_meets_nothing() -> None:
    rule = RULES[3]
    assert secrets_of({1: Redirect(http=(rule,))}) == {SECRET}
    assert [route["name"] for route in routes(rule)] == [DENIED]
    found = routes(rule, secrets={SECRET: "value"})[0]
    assert found["match"]["headers"][0]["string_match"] == {"exact": "value"}


def test_mending_makes_routes_for_those_who_need_it() -> None:
    found = routes(RULES[4])
    names = [route["name"] for route in found]
    assert len(names) == 2**3 + 1
    assert names[0] == "rule 1"
    assert "rule 1, LOG x-log, ADD x-add, DELETE x-delete" in names
    mended = found[names.index("rule 1, ADD x-add, DELETE x-delete")]
    assert mended["request_headers_to_remove"] == ["x-delete"]
    added = [add["header"] for add in mended["request_headers_to_add"]]
    assert {"key": "x-add", "value": "100%%"} in added
    assert {"key": "x-replace", "value": "4"} in added


def test_too_much_mending_is_refused_and_denied() -> None:
    headers = tuple(HeaderMatch(f"x-{number}", "1", "LOG") for number in range(7))
    state = compile_proxy({15001: Redirect(http=(HttpRule(headers=headers),))}, NOWHERE)
    assert "split it" in state.refused[15001]
    (host,) = state.routes[15001]["virtual_hosts"]
    assert [route["name"] for route in host["routes"]] == [DENIED]


def test_the_proxys_own_ports_are_apart_from_those_that_linux_gives() -> None:
    (cluster,) = bootstrap("node-1", NOWHERE)["static_resources"]["clusters"]
    (option,) = cluster["upstream_bind_config"]["socket_options"]
    assert divmod(option["int_value"], 1 << 16) == (PROXY_PORTS[1], PROXY_PORTS[0])
    assert PROXY_PORTS[0] > 60999
