"""Traces: the verdict both ways, the rule, and for a denial what would have allowed it."""

import pytest
from policy_cases import ask, cilium, plain, world

from cairn.diagnose.policy.end import End, Kind
from cairn.diagnose.policy.ends import NoSuchEnd, end_ports, find_ends
from cairn.diagnose.policy.layer7 import BadRequest, Request, parse_request
from cairn.diagnose.policy.miss import Place, same_name
from cairn.kube.policy.rule import FqdnPeer

TIERS = """
endpointSelector: {matchLabels: {tier: web}}
ingress:
- fromEndpoints: [{matchLabels: {app: nginx-ingress}}]
  toPorts: [{ports: [{port: "8080", protocol: TCP}]}]
egress:
- toEndpoints: [{matchLabels: {tier: database}}]
  toPorts: [{ports: [{port: "5432", protocol: TCP}]}]
- toFQDNs: [{matchName: api.github.com}, {matchPattern: "*.example.org"}]
  toPorts: [{ports: [{port: "443", protocol: TCP}]}]
- toCIDRSet: [{cidr: 192.0.2.0/24, except: [192.0.2.128/25]}]
egressDeny:
- toCIDR: [192.0.2.7/32]
"""
WEB = cilium(TIERS, "web")
HTTP = """
endpointSelector: {matchLabels: {tier: web}}
ingress:
- fromEndpoints: [{}]
  toPorts:
  - ports: [{port: "8080", protocol: TCP}]
    rules: {http: [{method: GET, path: "/public/.*"}]}
"""


@pytest.mark.parametrize(
    ("sender", "receiver", "port", "passes", "verdicts"),
    [
        ("production/nginx-ingress", "production/web-app", 8080, True, ("not isolated", "allowed")),
        ("production/web-app", "production/database", 5432, True, ("allowed", "not isolated")),
        ("production/web-app", "production/database", 80, False, ("default deny", "not isolated")),
        ("default/client", "production/web-app", 8080, False, ("not isolated", "default deny")),
        ("host", "production/web-app", 8080, True, ("not isolated", "allowed")),
        ("node/node-1", "production/web-app", 8080, True, ("not isolated", "allowed")),
        ("node/node-2", "production/web-app", 8080, False, ("not isolated", "default deny")),
        ("production/web-app", "api.github.com", 443, True, ("allowed", "not judged")),
        ("production/web-app", "API.example.org.", 443, True, ("allowed", "not judged")),
        ("production/web-app", "example.org", 443, False, ("default deny", "not judged")),
        ("production/web-app", "192.0.2.1", 80, True, ("allowed", "not judged")),
        ("production/web-app", "192.0.2.129", 80, False, ("default deny", "not judged")),
        ("production/web-app", "192.0.2.7", 80, False, ("denied", "not judged")),
        ("198.51.100.9", "production/web-app", 8080, False, ("not judged", "default deny")),
        ("world", "production/database", 5432, True, ("not judged", "not isolated")),
        ("production/tier=web", "kube-apiserver", 443, False, ("default deny", "not judged")),
        ("deploy/production/web-app", "pod/production/database", 5432, True,
         ("allowed", "not isolated")),
        ("production/tier=web", "10.244.2.3", 5432, True, ("allowed", "not isolated")),
    ],
)  # fmt: skip
def test_verdicts(
    sender: str, receiver: str, port: int, passes: bool, verdicts: tuple[str, str]
) -> None:
    found = ask(world(WEB), sender, receiver, port)
    assert (found.allowed, tuple(side.verdict for side in found.sides)) == (passes, verdicts)


RULE = "CiliumNetworkPolicy/production/web ingress[0].toPorts[0] would allow it if "
OUT = "CiliumNetworkPolicy/production/web "


@pytest.mark.parametrize(
    ("sender", "receiver", "port", "side", "sentence"),
    [
        (
            "production/nginx-ingress", "production/web-app", 80, 1,
            RULE + "it were at port 8080/TCP and not port 80/TCP: connect to port 8080/TCP, or add "
            "port 80/TCP to ingress[0].toPorts",
        ),
        (
            "production/database", "production/web-app", 8080, 1,
            RULE + "production/database had the label app=nginx-ingress (it has app=database): "
            "label it so, or add {matchLabels: {io.kubernetes.pod.namespace: production, "
            "app: database, tier: database}} to ingress[0].fromEndpoints",
        ),
        (
            "default/app=nginx-ingress", "production/web-app", 8080, 1,
            RULE + "default/app=nginx-ingress were in namespace production: add {matchLabels: "
            "{io.kubernetes.pod.namespace: default, app: nginx-ingress}} to "
            "ingress[0].fromEndpoints",
        ),
        (
            "production/web-app", "192.0.2.200", 80, 0,
            OUT + "egress[2] would allow it if 192.0.2.200 were not in the except "
            "192.0.2.128/25: narrow it in egress[2].toCIDR",
        ),
        (
            "production/web-app", "gitlab.com", 443, 0,
            OUT + "egress[1].toPorts[0] would allow it if it went to the name api.github.com: name "
            "gitlab.com in egress[1].toFQDNs",
        ),
        (
            "production/web-app", "192.0.2.7", 80, 0,
            "a rule that denies comes before all that allow, and it wins over "
            "CiliumNetworkPolicy/production/web egress[2]: narrow or remove "
            "CiliumNetworkPolicy/production/web egressDeny[0]",
        ),
        (
            "production/web-app", "production/nginx-ingress", 9999, 0,
            "",
        ),
    ],
)  # fmt: skip
def test_sentences_of_denials(
    sender: str, receiver: str, port: int, side: int, sentence: str
) -> None:
    mend = ask(world(WEB), sender, receiver, port).sides[side].mend
    assert mend
    if sentence:
        assert mend == sentence


def test_a_mend_does_what_it_says() -> None:
    """What the sentence tells to add makes the connection pass."""
    text = WEB.replace(
        "- fromEndpoints: [{matchLabels: {app: nginx-ingress}}]",
        "- fromEndpoints: [{matchLabels: {app: nginx-ingress}}, "
        "{matchLabels: {io.kubernetes.pod.namespace: production, app: database}}]",
    )
    assert text != WEB
    assert not ask(world(WEB), "production/database", "production/web-app", 8080).allowed
    assert ask(world(text), "production/database", "production/web-app", 8080).allowed


def test_a_mend_in_the_words_of_a_network_policy() -> None:
    policy = plain(
        "podSelector: {matchLabels: {tier: web}}\n"
        "ingress: [{from: [{podSelector: {matchLabels: {app: nginx-ingress}}}]}]"
    )
    mend = ask(world(policy), "default/client", "production/web-app", 8080).sides[1].mend
    assert mend.endswith(
        "add {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}, "
        "podSelector: {matchLabels: {app: client}}} to ingress[0].from"
    )


def test_a_policy_of_other_pods_that_would_have_done() -> None:
    closing = cilium("endpointSelector: {}\ningress: [{}]", "closed")
    opening = cilium(
        "endpointSelector: {matchLabels: {app: web}}\ningress: [{fromEntities: [all]}]", "open"
    )
    mend = ask(world(closing + opening), "default/client", "production/web-app", 80).sides[1].mend
    assert "production/open ingress[0] would allow it if production/web-app had the label" in mend


@pytest.mark.parametrize("mode", ["disabled", "audit-mode"])
def test_a_policy_that_would_allow_and_is_not_enforced(mode: str) -> None:
    closing = cilium("endpointSelector: {}\ningress: [{}]", "closed")
    opening = cilium("endpointSelector: {}\ningress: [{fromEntities: [all]}]", "open").replace(
        "namespace: production}",
        f'namespace: production, annotations: {{"policy.cilium.io/{mode}": "true"}}}}',
    )
    side = ask(world(closing + opening), "default/client", "production/web-app", 80).sides[1]
    assert not side.allowed
    assert "remove the annotation" in side.mend
    assert ("in audit mode, would let it pass" in side.audit) == (mode == "audit-mode")


def test_the_snippet_is_the_rule_as_written() -> None:
    side = ask(world(WEB), "production/web-app", "production/database", 5432).sides[0]
    assert side.rule == "egress[0].toPorts[0]"
    assert side.snippet.startswith("egress:\n- toEndpoints:")
    assert "5432" in side.snippet


@pytest.mark.parametrize(
    ("request_", "passes"),
    [
        (parse_request("GET /public/a?b=c"), True),
        (parse_request("POST /public/a"), False),
        (parse_request("GET http://web/private"), False),
        (Request(), True),
    ],
)
def test_requests(request_: Request, passes: bool) -> None:
    around = world(cilium(HTTP))
    found = ask(around, "production/nginx-ingress", "production/web-app", 8080, request_)
    assert found.allowed is passes


@pytest.mark.parametrize(
    ("name", "passes"), [("api.github.com", True), ("x.example.org", True), ("evil.net", False)]
)
def test_names_that_may_be_asked_for(name: str, passes: bool) -> None:
    request = Request(dns=name)
    found = ask(world(WEB), "production/web-app", "kube-system/kube-dns", 53, request)
    assert found.allowed is passes


def test_behind_a_service_are_its_pods() -> None:
    around = world(WEB)
    (end,) = find_ends(around, "10.96.0.20")
    assert end.text == "production/web-app"
    for text in ("svc/production/web", "10.96.0.20", "web.production.svc.cluster.local"):
        assert end_ports(around, text, Place(6, 80), end) == Place(6, 8080)
    assert end_ports(around, "production/web-app", Place(6, 80), end) == Place(6, 80)


@pytest.mark.parametrize(
    "text",
    [
        "nobody",
        "production/nobody",
        "nowhere/web-app",
        "node/x",
        "svc/default/x",
        "a=b",
        "deploy/x",
    ],
)
def test_who_is_nobody(text: str) -> None:
    with pytest.raises(NoSuchEnd):
        find_ends(world(), text)


@pytest.mark.parametrize("text", ["", "GET", "GET /a b", "G3T /"])
def test_what_is_no_request(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_request(text)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", False),
        ("**.example.com", "a.b.example.com", True),
        ("**.example.com", "example.com", False),
        ("a*b*c.com", "axxbyyc.com", True),
        ("a*b*c.com", "acb.com", False),
        ("ab*ba.com", "aba.com", False),
        ("*", "anything.at.all", True),
    ],
)
def test_patterns_of_names(pattern: str, name: str, fits: bool) -> None:
    assert same_name(FqdnPeer(pattern=pattern), name) is fits


def test_an_end_knows_its_own_labels() -> None:
    (end,) = find_ends(world(), "production/web-app")
    assert isinstance(end, End)
    assert end.kind is Kind.POD
    assert end.own_labels == {"app": "web-app", "tier": "web"}
