"""Broken, odd and unsupported manifests: accepted or refused with a reason, never passed over."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from lab_run import CAIRN, KUBECTL, SCENARIO, LabRun, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root]

SATISFIED = "cilium.io/IPAMRequestSatisfied"
FINDINGS, ENFORCED, HONOURED = "cairn.io/Findings", "cairn.io/Enforced", "cairn.io/Honoured"
Done = subprocess.CompletedProcess


def ask(lab: LabRun, *argv: str, stdin: str | None = None) -> "Done[str]":
    """Run kubectl and return all that it said; a traceback is never right."""
    words = (KUBECTL, "--kubeconfig", lab.kubeconfig, *argv)
    done = subprocess.run(words, input=stdin, text=True, capture_output=True, timeout=60)
    assert "Traceback" not in done.stdout + done.stderr
    return done


def status(lab: LabRun) -> "Done[str]":
    environment = os.environ | {"KUBECONFIG": lab.kubeconfig}
    done = subprocess.run(
        (CAIRN, "status"), text=True, capture_output=True, timeout=60, env=environment
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


@contextlib.contextmanager
def applied(lab: LabRun, manifest: str) -> Iterator[str]:
    """Apply a manifest, give what kubectl warned of, and delete it at the end."""
    done = ask(lab, "apply", "-f", "-", stdin=manifest)
    try:
        assert done.returncode == 0, done.stderr
        yield done.stderr
    finally:
        ask(lab, "delete", "--ignore-not-found", "-f", "-", stdin=manifest)


def refused(lab: LabRun, manifest: str, *options: str, verb: str = "apply") -> str:
    done = ask(lab, verb, *options, "-f", "-", stdin=manifest)
    assert done.returncode == 1, done.stdout
    return done.stderr


def condition(obj: dict[str, Any], name: str) -> dict[str, Any]:
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((dict(item) for item in found if item["type"] == name), {})


def message(lab: LabRun, name: str, *what: str) -> str:
    """Wait for a condition of an object and return its message."""

    def found() -> str:
        return str(condition(lab.get(*what), name).get("message") or "")

    return wait_for(f"condition {name} of {' '.join(what)}", found)


def event(lab: LabRun, name: str, words: str) -> dict[str, Any]:
    """Wait for an Event about the object of that name."""

    def found() -> dict[str, Any]:
        selector = f"involvedObject.name={name}"
        items = lab.get("events", "-A", "--field-selector", selector)["items"]
        return next((item for item in items if words in item["message"]), {})

    return wait_for(f"Event about {name} with {words!r}", found)


def address(lab: LabRun, service: str) -> str:
    given = lab.get("service", service)["status"].get("loadBalancer") or {}
    return next((item["ip"] for item in given.get("ingress") or ()), "")


def pool(name: str, first: str, last: str, label: str) -> str:
    return f"""
apiVersion: cilium.io/v2alpha1
kind: CiliumLoadBalancerIPPool
metadata: {{name: {name}}}
spec:
  blocks: [{{start: "{first}", stop: "{last}"}}]
  serviceSelector: {{matchLabels: {{test/pool: "{label}"}}}}
---
"""


def service(
    name: str, label: str, *, port: int = 80, annotations: str = "{}", spec: str = ""
) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, labels: {{test/pool: "{label}"}}, annotations: {annotations}}}
spec:
  type: LoadBalancer
  selector: {{app: web-app}}
  ports: [{{port: {port}, targetPort: 8080}}]
  {spec}
---
"""


def peering(name: str, neighbors: str, *, head: str = "nodeSelector: {}") -> str:
    return f"""
apiVersion: cilium.io/v2alpha1
kind: CiliumBGPPeeringPolicy
metadata: {{name: {name}}}
spec:
  {head}
  virtualRouters:
  - localASN: 64512
    serviceSelector: {{}}
    neighbors:
{neighbors}
"""


def sessions(lab: LabRun) -> dict[str, str]:
    """Return since when each node's session is up; a lost session has another time."""
    found = {}
    for config in lab.get("ciliumbgpnodeconfig")["items"]:
        for instance in config.get("status", {}).get("bgpInstances", ()):
            for peer in instance["peers"]:
                found[config["metadata"]["name"]] = peer.get("establishedTime", "down")
    return found


def test_d1_d2_d6_the_pool_as_the_document_writes_it(lab: LabRun) -> None:
    manifest = next(SCENARIO.glob("10-*.yaml"))
    warned = ask(lab, "replace", "--dry-run=server", "-f", str(manifest)).stderr
    assert "spec.cidrs is the older name" in warned
    assert "hands out only 192.168.1.100 to 192.168.1.111" in warned
    assert "one of the nodes that serve it answers" in warned
    told = message(lab, FINDINGS, "ippool", "homelab-pool")
    assert "spec.cidrs is read as spec.blocks" in told
    assert "192.168.1.96 to 192.168.1.111" in told
    assert "reach it through that node, without ECMP" in told
    assert "not enforced" not in status(lab).stdout
    stored = lab.get("ippool", "homelab-pool")
    assert condition(stored, "cilium.io/IPsTotal")["message"] == "12"
    assert lab.web("client-2")["client"] == "192.168.1.50"


def test_d3_without_the_label_a_service_is_pending_and_told_why(lab: LabRun) -> None:
    with applied(lab, service("unlabelled", "none")):
        told = message(lab, SATISFIED, "service", "unlabelled")
        assert "pool homelab-pool selects the label io.cilium/lb-ipam-ips=pool-homelab" in told
        assert event(lab, "unlabelled", told)["type"] == "Warning"
        assert "<pending>" in lab.kubectl("get", "service", "unlabelled")
        found = status(lab)
        assert found.returncode == 1
        assert "service default/unlabelled: has no address" in found.stdout
        remedy = told.partition("; ")[2].split()
        assert remedy[:2] == ["kubectl", "label"], told
        lab.kubectl(*remedy[1:])
        given = wait_for("address", lambda: address(lab, "unlabelled"))
        assert given.startswith("192.168.1.10")


def test_d4_d16_the_peering_policy_as_the_document_writes_it(lab: LabRun) -> None:
    manifest = next(SCENARIO.glob("20-*.yaml"))
    warned = ask(lab, "replace", "--dry-run=server", "-f", str(manifest)).stderr
    assert "eBGPMultihop stands at an iBGP peer" in warned
    told = message(lab, FINDINGS, "ciliumbgppeeringpolicy", "homelab-bgp-peering")
    assert "eBGPMultihop is ignored on iBGP" in told


def test_d5_a_selector_by_exclusion_excludes(lab: LabRun) -> None:
    labels = "lb-dry"
    with (
        applied(lab, pool("by-exclusion", "10.77.0.1", "10.77.0.2", labels)),
        applied(lab, service("announced", labels)),
    ):
        wait_for("route", lambda: lab.next_hops("10.77.0.1"))
        lab.kubectl("label", "service", "announced", "somekey=never-used-value")
        wait_for("withdrawal", lambda: not lab.next_hops("10.77.0.1"))
        found = wait_for("status", lambda: ((done := status(lab)).returncode and done.stdout) or "")
        assert "no policy's serviceSelector selects it" in found


def test_d12_a_policy_needs_a_name_and_the_older_one_wins(lab: LabRun) -> None:
    before = sessions(lab)
    manifest = peering(
        "later", '    - {peerAddress: "2001:db8::1", peerASN: 64512, ipFamily: ipv6}'
    )
    nameless = manifest.replace("name: later", "labels: {}")
    assert "name or generateName is required" in refused(lab, nameless, verb="create")
    without_selector = manifest.replace("nodeSelector: {}", "")
    with applied(lab, without_selector) as warned:
        assert "spec.nodeSelector is missing: Cairn peers from every node" in warned
        told = message(lab, "cairn.io/Conflict", "ciliumbgppeeringpolicy", "later")
        assert "node-1 follows the older policy homelab-bgp-peering" in told
        event(lab, "later", "follows the older policy")
        found = status(lab)
        assert found.returncode == 1
        assert "policy later: node-1 follows the older policy" in found.stdout
        assert sessions(lab) == before
    assert sessions(lab) == before


def test_d12_the_family_is_checked_against_the_address(lab: LabRun) -> None:
    neighbor = '    - {peerAddress: "192.168.1.1", peerASN: 64512, ipFamily: ipv6}'
    with applied(lab, peering("contradiction", neighbor)) as warned:
        assert "Cairn leaves this neighbor out" in warned
        told = message(lab, FINDINGS, "ciliumbgppeeringpolicy", "contradiction")
        assert "is ignored: ipFamily ipv6 does not fit peerAddress 192.168.1.1" in told


def test_d13_fragments_belong_to_the_neighbor_above(lab: LabRun) -> None:
    neighbors = """
    - peerAddress: "192.168.1.1"
      peerASN: 64512
      password: "not-so-secret"
    - maxPrefixes: 100
    - importFilter: "deny any"
    - exportFilter: "permit 192.168.1.0/24"
"""
    with applied(lab, peering("fragments", neighbors)) as warned:
        assert "the password stands in the open" in warned
        assert warned.count("has no peerAddress") == 3
        told = message(lab, FINDINGS, "ciliumbgppeeringpolicy", "fragments")
        assert told.count("is read as part of neighbor 192.168.1.1 above it") == 3
        assert "put it in a Secret" in told


def test_a_filter_that_cannot_be_read_is_not_left_out_silently(lab: LabRun) -> None:
    neighbor = '    - {peerAddress: "192.168.1.1", peerASN: 64512, exportFilter: "permit some"}'
    with applied(lab, peering("filtered", neighbor)):
        told = message(lab, FINDINGS, "ciliumbgppeeringpolicy", "filtered")
        assert "neighbor 192.168.1.1 is ignored: exportFilter" in told


STORED = [
    pytest.param(
        """
apiVersion: cilium.io/v2alpha1
kind: CiliumClusterMesh
metadata: {name: bad}
spec: {clusters: [{name: other, address: "192.168.2.10:2379"}]}
""",
        "ciliumclustermesh",
        ("this version joins no clusters",),
        id="D10",
    ),
    pytest.param(
        """
apiVersion: cilium.io/v2
kind: CiliumEnvoyConfig
metadata: {name: bad}
spec: {services: [{name: my-web-app, routes: [{name: r, http: {match: [{prefix: /}]}}]}]}
""",
        "ciliumenvoyconfig",
        ("this version runs no Envoy",),
        id="D11",
    ),
    pytest.param(
        """
apiVersion: cilium.io/v2alpha1
kind: CiliumBGPClusterConfig
metadata: {name: bad}
spec: {bgpInstances: [{name: i, localASN: 64512}]}
""",
        "ciliumbgpclusterconfig",
        ("no node peers by it",),
        id="D16-cluster-config",
    ),
    pytest.param(
        """
apiVersion: cilium.io/v2alpha1
kind: CiliumBGPAdvertisement
metadata: {name: bad}
spec: {advertisements: [{advertisementType: PodCIDR}]}
""",
        "ciliumbgpadvertisement",
        ("announces nothing in this version",),
        id="D16-advertisement",
    ),
]


@pytest.mark.parametrize(("manifest", "kind", "words"), STORED)
def test_what_is_stored_and_does_nothing_says_so_everywhere(
    lab: LabRun, manifest: str, kind: str, words: tuple[str, ...]
) -> None:
    with applied(lab, manifest) as warned:
        for sentence in words:
            assert sentence in warned
        told = message(lab, ENFORCED, kind, "bad")
        assert words[0] in told
        found = condition(lab.get(kind, "bad"), ENFORCED)
        assert (found["status"], found["reason"]) == ("False", "NotImplemented")
        assert event(lab, "bad", words[0])["type"] == "Warning"
        shown = status(lab)
        assert words[0] in " ".join(shown.stdout.split())
        assert shown.returncode == 0
    wait_for("clean status", lambda: status(lab).returncode == 0)


CNP = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: bad}\n"
NOBODY = "{matchLabels: {app: nobody}}"
POLICIES = [
    pytest.param(
        CNP + f'spec: {{podSelector: {NOBODY}, policyTypes: ["Ingress", "Egress"]}}',
        ("read as endpointSelector", "Ingress, Egress is closed but for what is allowed"),
        id="D7",
    ),
    pytest.param(
        CNP + f"spec: {{endpointSelector: {NOBODY}, egress: [{{toFQDNs: [{{matchName: a.b}}]}}]}}",
        ("queries for just these names are let through to the cluster DNS",),
        id="D8",
    ),
    pytest.param(
        CNP
        + f"""
spec:
  podSelector: {NOBODY}
  ingress:
  - fromCIDR: ["0.0.0.0/0"]
    toPorts: [{{ports: [{{port: "80", protocol: TCP, rateLimit: {{requestsPerSecond: 1}}}}]}}]
""",
        (
            "a limit per source address",
            "0.0.0.0/0 is the world outside the cluster",
            "write fromEntities: [all] if anyone is meant",
        ),
        id="D9-D17",
    ),
]


@pytest.mark.parametrize(("manifest", "words"), POLICIES)
def test_what_a_policy_is_read_as_is_said_everywhere(
    lab: LabRun, manifest: str, words: tuple[str, ...]
) -> None:
    with applied(lab, manifest) as warned:
        told = message(lab, FINDINGS, "cnp", "bad")
        for sentence in words:
            assert sentence in warned
            assert sentence in told
            assert event(lab, "bad", sentence)["type"] == "Warning"
        assert condition(lab.get("cnp", "bad"), "Valid")["status"] == "True"
        assert condition(lab.get("cnp", "bad"), ENFORCED)["status"] == "True"
        shown = status(lab)
        for sentence in words:
            assert sentence in " ".join(shown.stdout.split())
        assert "1 enforced" in shown.stdout
        assert shown.returncode == 0


def test_a_policy_that_is_not_understood_is_refused(lab: LabRun) -> None:
    manifest = CNP + "spec: {endpointSelector: {}, ingress: [{fromEntities: [host], toPort: []}]}"
    said = refused(lab, manifest)
    assert "spec.ingress[0].toPort" in said
    assert "unknown field; known here: authentication, fromCIDR" in said


def test_d14_a_disabled_policy_is_worth_knowing_only(lab: LabRun) -> None:
    manifest = CNP + f"spec: {{endpointSelector: {NOBODY}, ingress: [{{}}]}}"
    with applied(lab, manifest):
        assert "enforces it" in message(lab, ENFORCED, "cnp", "bad")
        lab.kubectl("annotate", "cnp", "bad", "policy.cilium.io/disabled=true")
        wait_for(
            "the condition says that it is disabled",
            lambda: "policy.cilium.io/disabled=true stands" in message(lab, ENFORCED, "cnp", "bad"),
        )
        found = status(lab)
        assert found.returncode == 0
        assert "1 disabled" in found.stdout
        assert "is not enforced while its annotation" in " ".join(found.stdout.split())


def test_network_policies_of_kubernetes_are_told_of_too(lab: LabRun) -> None:
    manifest = f"""
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: netpol}}
spec: {{podSelector: {NOBODY}, policyTypes: [Ingress], egress: [{{}}]}}
"""
    with applied(lab, manifest) as warned:
        assert "spec.egress is not in force" in warned
        event(lab, "netpol", "spec.egress is not in force")
        found = status(lab)
        assert found.returncode == 0
        assert "NetworkPolicy default/netpol" in found.stdout


def test_cilium_config_is_told_to_change_nothing(lab: LabRun) -> None:
    manifest = """
apiVersion: v1
kind: ConfigMap
metadata: {name: cilium-config, namespace: kube-system}
data: {enable-envoy-config: "true"}
"""
    with applied(lab, manifest) as warned:
        assert "Cairn takes no setting from this ConfigMap: enable-envoy-config" in warned
        event(lab, "cilium-config", "takes no setting")
        found = status(lab)
        assert found.returncode == 0
        assert "ConfigMap kube-system/cilium-config" in found.stdout


def test_what_of_a_service_is_not_honoured(lab: LabRun) -> None:
    manifest = service(
        "foreign",
        "foreign",
        annotations='{metallb.universe.tf/loadBalancerIPs: "10.78.0.9"}',
        spec="loadBalancerSourceRanges: [192.168.50.0/24]\n  externalIPs: [192.0.2.7]",
    )
    with applied(lab, pool("foreign", "10.78.0.1", "10.78.0.1", "foreign") + manifest) as warned:
        assert "metallb" in warned
        assert "metallb" in message(lab, HONOURED, "service", "foreign")
        event(lab, "foreign", "metallb")
        for field in ("loadBalancerSourceRanges", "externalIPs"):
            assert field not in warned, "these are honoured"
        wait_for("address", lambda: address(lab, "foreign") == "10.78.0.1")
        wait_for("route", lambda: lab.next_hops("10.78.0.1"))
        assert lab.web(url="http://10.78.0.1")["client"] == "192.168.50.10"
        words = ("annotate", "service", "foreign", "metallb.universe.tf/loadBalancerIPs-")
        lab.kubectl(*words)
        wait_for(
            "the condition goes with its gap",
            lambda: not condition(lab.get("service", "foreign"), HONOURED),
        )
        assert address(lab, "foreign") == "10.78.0.1"


def test_a_pool_that_runs_dry(lab: LabRun) -> None:
    services = [service(f"dry-{n}", "dry") for n in range(3)]
    with (
        applied(lab, pool("dry", "10.79.0.1", "10.79.0.2", "dry")),
        applied(lab, "".join(services[:2])),
    ):
        for n in range(2):
            wait_for("address", partial(address, lab, f"dry-{n}"))
        with applied(lab, services[2]):
            told = message(lab, SATISFIED, "service", "dry-2")
            assert "pool dry is exhausted: 2 of 2 in use; add a block or another pool" in told
            event(lab, "dry-2", told)
            assert told in " ".join(status(lab).stdout.split())
            freed = address(lab, "dry-0")
            lab.kubectl("delete", "service", "dry-0")
            wait_for("the freed address", lambda: address(lab, "dry-2") == freed)


def test_overlapping_pools_are_named(lab: LabRun) -> None:
    with applied(lab, pool("elder", "10.80.0.1", "10.80.0.9", "overlap")):
        wait_for("elder", lambda: condition(lab.get("ippool", "elder"), "cilium.io/IPsTotal"))
        # Equal ages are told apart by name: "elder" comes before "younger".
        with applied(lab, pool("younger", "10.80.0.5", "10.80.0.20", "overlap")):
            told = message(lab, "cilium.io/PoolConflict", "ippool", "younger")
            assert "overlaps" in told
            assert "of the older pool elder" in told
            event(lab, "younger", "of the older pool elder")
            found = status(lab)
            assert found.returncode == 1
            assert "pool younger: block" in found.stdout


def test_a_block_that_is_no_network(lab: LabRun) -> None:
    manifest = """
apiVersion: cilium.io/v2alpha1
kind: CiliumLoadBalancerIPPool
metadata: {name: broken}
spec: {blocks: [{cidr: CIDR}]}
"""
    assert "spec.blocks[0].cidr" in refused(lab, manifest.replace("CIDR", "banana"))
    with applied(lab, manifest.replace("CIDR", '"10.0.0.0/33"')) as warned:
        assert "'10.0.0.0/33' is not a network: this block gives no address" in warned
        told = message(lab, FINDINGS, "ippool", "broken")
        assert "block 10.0.0.0/33 is ignored" in told
        assert "no valid block: the pool has no address to give" in told


def test_two_services_ask_for_one_address(lab: LabRun) -> None:
    asked = '{lbipam.cilium.io/ips: "10.81.0.7"}'
    shared = '{lbipam.cilium.io/ips: "10.81.0.7", lbipam.cilium.io/sharing-key: k}'
    pools = pool("wanted", "10.81.0.1", "10.81.0.9", "wanted")
    with applied(lab, pools + service("one", "wanted", annotations=asked)):
        wait_for("address", lambda: address(lab, "one") == "10.81.0.7")
        with applied(lab, service("two", "wanted", annotations=asked, port=81)):
            told = message(lab, SATISFIED, "service", "two")
            assert "10.81.0.7 is held by Service default/one; ask for another address" in told
            for name in ("one", "two"):
                lab.kubectl("annotate", "service", name, "lbipam.cilium.io/sharing-key=k")
            wait_for("shared address", lambda: address(lab, "two") == "10.81.0.7")
            with applied(lab, service("three", "wanted", annotations=shared, port=81)):
                told = message(lab, SATISFIED, "service", "three")
                assert "cannot share it: ports must differ" in told
            assert address(lab, "one") == address(lab, "two") == "10.81.0.7"


@pytest.mark.parametrize("asked", ["not-an-address", "203.0.113.9"])
def test_an_address_that_cannot_be_given(lab: LabRun, asked: str) -> None:
    annotations = f'{{lbipam.cilium.io/ips: "{asked}"}}'
    with applied(lab, service("asking", "wanted", annotations=annotations)):
        told = message(lab, SATISFIED, "service", "asking")
        assert asked in told
        assert "; " in told  # what to do


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: invalid}
spec:
  selector: {app: web-app}
  ports: [{port: 80}]
"""


@pytest.mark.parametrize(
    ("manifest", "options", "words"),
    [
        (SERVICE + "  colour: blue\n", ("--validate=strict",), 'unknown field "spec.colour"'),
        (SERVICE.replace("port: 80", 'port: "eighty"'), (), "spec.ports[0].port"),
        (SERVICE.replace("port: 80", "port: 80000"), (), "spec.ports[0].port"),
        (SERVICE.replace("[{port: 80}]", "[]"), (), "spec.ports: Required value"),
        (SERVICE.replace("name: invalid", "name: In_Valid"), (), "metadata.name"),
        (SERVICE.replace("selector:", "type: Loadbalancer\n  selector:"), (), "spec.type"),
        (SERVICE.replace("kind: Service", "kind: Servize"), (), 'no matches for kind "Servize"'),
        (SERVICE + "\n}", (), "error parsing"),
        (SERVICE.replace("name: invalid", "name: a, namespace: nowhere"), (), "nowhere"),
    ],
)
def test_invalid_manifests_are_refused(
    lab: LabRun, manifest: str, options: tuple[str, ...], words: str
) -> None:
    found = refused(lab, manifest, *options)
    assert words in found
    assert lab.kubectl("get", "service", "invalid", "--ignore-not-found") == ""


def test_unknown_fields_are_warned_of_where_they_are_not_refused(lab: LabRun) -> None:
    manifest = SERVICE + "  colour: blue\n"
    try:
        found = ask(lab, "apply", "--validate=warn", "-f", "-", stdin=manifest)
        assert found.returncode == 0
        assert 'unknown field "spec.colour"' in found.stderr
        assert "colour" not in lab.get("service", "invalid")["spec"]
    finally:
        lab.kubectl("delete", "service", "invalid", "--ignore-not-found")


def pod(name: str, image: str, command: str = "") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: c, image: {image}{command}}}]
"""


def test_an_unknown_image_says_which_there_are(lab: LabRun) -> None:
    with applied(lab, pod("unknown-image", "registry.example/rocket:1")):
        wait_for(
            "ImagePullBackOff",
            lambda: "ImagePullBackOff" in lab.kubectl("get", "pod", "unknown-image"),
        )
        told = json.dumps(lab.get("pod", "unknown-image")["status"])
        assert "is not one of the lab's; it can run: web, " in told
        event(lab, "unknown-image", "it can run: web, ")


def test_a_crash_loop_is_visible(lab: LabRun) -> None:
    with applied(lab, pod("crashing", "toolbox", ', command: [sh, -c, "echo oops; exit 3"]')):
        wait_for(
            "CrashLoopBackOff",
            lambda: "CrashLoopBackOff" in lab.kubectl("get", "pod", "crashing"),
            within_s=40,
        )
        (container,) = lab.get("pod", "crashing")["status"]["containerStatuses"]
        assert container["lastState"]["terminated"]["exitCode"] == 3
        assert "oops" in lab.kubectl("logs", "crashing", "--previous")


def test_bandwidth_limits_are_told_of(lab: LabRun) -> None:
    manifest = pod("limited", "web").replace(
        "metadata: {", "metadata: {annotations: {kubernetes.io/egress-bandwidth: 1M}, "
    )
    with applied(lab, manifest) as warned:
        assert "kubernetes.io/egress-bandwidth is not honoured" in warned
        assert "kubernetes.io/egress-bandwidth" in status(lab).stdout
