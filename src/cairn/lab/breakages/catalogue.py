"""The catalogue of faults: all of them, in one tuple, by where they are.

    FAULTS  ->  name, target, how it is made, how it is mended, which finding it must give

Invariants  `example` and `why` are about the reference scenario; a row with a finding lasts.
"""

from functools import partial
from typing import Any

from cairn.desired.routes import IPV6_UNICAST
from cairn.kube.resource import BGP_PEERING_POLICIES, DEPLOYMENTS, POOLS, SERVICES
from cairn.lab.breakages import data_plane, host, inside, objects, router, wire
from cairn.lab.breakages.catalogue_objects import WORKLOAD_FAULTS
from cairn.lab.fault import Clear, Fault, Inject
from cairn.lab.topology import CLUSTER_DNS

WEB = "default/my-web-app"
PEERING = "homelab-bgp-peering"
VIP = "192.168.1.100"
FROM_LAN = f"client-1 {VIP}"
KEY = {"password": "a-key-of-one-end-alone"}


def _wire(kind: str, match: str) -> tuple[Inject, Clear]:
    return partial(wire.drop, kind=kind, match=match), partial(wire.pass_again, kind=kind)


def _kernel(**settings: str) -> tuple[Inject, Clear]:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return partial(host.set_kernel, settings=named), host.reset_kernel


def _ip(do: str, undo: str) -> tuple[Inject, Clear]:
    return partial(host.ip_command, words=do), partial(host.undo_ip, words=undo)


def _container(name: str) -> tuple[Inject, Clear]:
    return (
        partial(host.stop_container, container=name),
        partial(host.continue_container, container=name),
    )


def _router(change: router.Change) -> tuple[Inject, Clear]:
    return partial(router.misconfigure, change=change), router.configure


def _service(**spec: Any) -> tuple[Inject, Clear]:
    patch = {"spec": spec}
    return (
        partial(objects.change, resource=SERVICES, patch=patch),
        partial(objects.put_back, resource=SERVICES),
    )


def _replicas(count: int) -> tuple[Inject, Clear]:
    return (
        partial(objects.change, resource=DEPLOYMENTS, patch={"spec": {"replicas": count}}),
        partial(objects.put_back, resource=DEPLOYMENTS),
    )


def _peering(**fields: Any) -> tuple[Inject, Clear]:
    def by(policy: dict[str, Any]) -> None:
        for virtual in policy["spec"]["virtualRouters"]:
            for neighbor in virtual["neighbors"]:
                neighbor.update(fields)

    return (
        partial(objects.edit, resource=BGP_PEERING_POLICIES, by=by),
        partial(objects.put_back, resource=BGP_PEERING_POLICIES),
    )


def _no_upstream(deployment: dict[str, Any]) -> None:
    """Leave no server to ask but itself, which it never does."""
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        container["command"] = [*container["command"], f"--upstream={CLUSTER_DNS}"]


def _announce(policy: dict[str, Any]) -> None:
    for virtual in policy["spec"]["virtualRouters"]:
        virtual["serviceSelector"] = {"matchLabels": {"announce": "nothing-has-this"}}


def _everywhere(policy: dict[str, Any]) -> None:
    policy["spec"]["nodeSelector"] = {"matchLabels": {"node-role": "wroker"}}


WIRE_FAULTS = (
    Fault("link-down", "HOST", "pull its cables out of the switch: carrier is lost",
          wire.pull, wire.plug, "", "CRN-304", "client-1", FROM_LAN),
    Fault("partition", "HOST", "its ports pass nothing, while carrier stays",
          *_wire("partition", wire.EVERYTHING), "", "CRN-308", "node-3", FROM_LAN),
    Fault("drop-arp", "HOST", "ARP is lost both ways",
          host.lose_arp, partial(wire.pass_again, kind="arp"), "", "CRN-309", "node-3"),
    Fault("loss", "HOST", "this percentage of all packets is lost, each way",
          wire.lose, partial(wire.pass_again, kind="loss"), "PERCENT"),
    Fault("large-lost", "HOST", "IP packets above 1300 octets vanish silently: an MTU black hole",
          *_wire("large", wire.LARGE), "", "CRN-307", "node-3"),
    Fault("bgp-lost", "HOST", "BGP is lost both ways: keepalives stop, the hold timer runs",
          *_wire("bgp", wire.BGP), "", "CRN-206", "node-3"),
    Fault("api-lost", "HOST", "packets to and from the API server are lost",
          host.lose_api, partial(wire.pass_again, kind="api"), "", "CRN-905", "node-3"),
    Fault("dns-lost", "HOST", "DNS queries that it sends or gets are lost",
          *_wire("dns", wire.DNS), "", "CRN-701", "node-3"),
    Fault("overlay-lost", "HOST", "VXLAN is lost: pods of nodes on other subnets are cut off",
          *_wire("overlay", wire.OVERLAY), "", "CRN-320", "node-3",
          needs="a node on the second subnet: cairn lab up --far-nodes 1"),
)  # fmt: skip

HOST_FAULTS = (
    Fault("pause", "HOST", "all its processes stand still, as in a power-saving bug",
          host.freeze, host.thaw, "", "CRN-308", "node-3", FROM_LAN),
    Fault("no-forwarding", "HOST", "its kernel forwards no IPv4",
          *_kernel(net__ipv4__ip_forward="0"), "", "CRN-302", "node-3"),
    Fault("router-no-forwarding", "HOST", "the router's kernel forwards no IPv4",
          *_kernel(net__ipv4__ip_forward="0"), "", "CRN-223", "router", FROM_LAN),
    Fault("rp-filter", "HOST", "its kernel drops what comes in by another way than it would go out",
          *_kernel(net__ipv4__conf__all__rp_filter="1"), "", "CRN-303", "node-2"),
    Fault("arp-flux", "HOST", "another tool's sysctl: it answers ARP for what it does not hold",
          *_kernel(net__ipv4__conf__all__proxy_arp="1"), "", "CRN-303", "node-1"),
    Fault("small-mtu", "HOST", "its interface takes packets of 1400 octets only",
          *_ip("link set eth0 mtu 1400", "link set eth0 mtu 1500"), "", "CRN-305", "node-2"),
    Fault("no-gateway", "HOST", "its default route is gone",
          *_ip("route del default", "route replace default via 192.168.50.1"), "",
          "CRN-350", "client-1", FROM_LAN),
    Fault("asymmetric", "HOST", "it answers the LAN by way of another machine",
          *_ip("route replace 192.168.50.0/24 via 192.168.1.50", "route del 192.168.50.0/24"), "",
          "CRN-351", "node-2", FROM_LAN),
    Fault("stale-route", "HOST", "someone's static route to a VIP, before those learnt",
          *_ip(f"route add {VIP}/32 via 192.168.1.77 metric 1",
               f"route del {VIP}/32 via 192.168.1.77 metric 1"), "",
          "CRN-213", "router", FROM_LAN),
    Fault("firewall", "HOST", "another program's firewall drops the web application's packets",
          partial(host.firewall, kind="web", hook="forward", match="tcp dport { 80, 8080 }"),
          partial(host.open_firewall, kind="web"), "", "CRN-950", "router",
          f"--probe {FROM_LAN}"),
    Fault("bgp-filtered", "HOST", "its firewall drops what comes to port 179",
          partial(host.firewall, kind="bgp", hook="input", match="tcp dport 179"),
          partial(host.open_firewall, kind="bgp"), "", "CRN-206", "router"),
    Fault("duplicate-address", "HOST", "it takes an address that is another's, and says so",
          host.take_address, host.leave_address, "ADDRESS",
          "CRN-105", f"client-2 {VIP}", FROM_LAN),
    Fault("duplicate-node-address", "HOST", "it takes a node's address, and says so",
          host.take_address, host.leave_address, "ADDRESS",
          "CRN-310", "client-2 192.168.1.12"),
)  # fmt: skip

PROCESS_FAULTS = (
    Fault("kill", "PROCESS", "kill -9; the supervisor starts it again", host.kill),
    Fault("stop", "PROCESS", "stop it politely and keep it stopped",
          partial(host.order, operation="stop"), host.start, "", "CRN-205", "router", FROM_LAN),
    Fault("restart", "PROCESS", "stop it politely and start it",
          partial(host.order, operation="restart")),
    Fault("hang", "PROCESS", "it stands still and its connections stay, as a program that hangs",
          host.stop_process, host.continue_process, "", "CRN-203", "router",
          needs="the hold time to pass: as the peering policy says"),
    Fault("agent-hangs", "NODE", "the node's agent stands still",
          *_container("agent"), "", "CRN-902", "node-3"),
    Fault("speaker-hangs", "NODE", "the node's BGP speaker stands still",
          *_container("speaker"), "", "CRN-211", "node-3"),
    Fault("dns-hangs", "NODE", "the node's DNS proxy stands still",
          *_container("dns"), "", "CRN-704", "node-3"),
    Fault("proxy-hangs", "NODE", "the node's HTTP proxy stands still",
          *_container("proxy"), "", "CRN-801", "node-3",
          needs="HTTP rules for a pod of the node: cairn lab fault deny-request production"),
    Fault("no-operator", "DEPLOYMENT", "nobody runs the operator",
          *_replicas(0), "", "CRN-908", "kube-system/cairn-operator"),
    Fault("dns-refused", "DEPLOYMENT", "the cluster's DNS has no server for names outside",
          partial(objects.edit, resource=DEPLOYMENTS, by=_no_upstream),
          partial(objects.put_back, resource=DEPLOYMENTS), "",
          "CRN-702", "kube-system/kube-dns",
          "pod/production/nginx-ingress shop.example.org:443"),
    Fault("no-cluster-dns", "DEPLOYMENT", "nobody runs the cluster's DNS",
          *_replicas(0), "", "CRN-501", "kube-system/kube-dns"),
)  # fmt: skip

INSIDE_FAULTS = (
    Fault("detached", "NODE", "another tool detaches the program at its uplink",
          data_plane.detach, data_plane.attach_again, "", "CRN-401", "node-3"),
    Fault("full-map", "NODE", "a flood has filled its table of connections",
          data_plane.fill_map, data_plane.empty_map, "", "CRN-407", "node-3"),
    Fault("full-disk", "NODE", "the file system of its logs is full",
          inside.fill_logs, inside.clear_logs, "", "CRN-911", "node-3"),
    Fault("full-history", "DEPLOYMENT", "the file system of the relay's history is full",
          inside.fill_history, inside.clear_history, "", "CRN-910", "kube-system/hubble-relay"),
    Fault("certificate-ended", "NODE", "the authority's certificate that its agent has has ended",
          inside.end_certificate, inside.renew_certificate, "", "CRN-802", "node-3"),
    Fault("clock-skew", "NODE", "the time of day is wrong by this, for what starts from now on",
          inside.shift_clock, inside.set_clock, "SECONDS", "CRN-311", "node-3 300"),
)  # fmt: skip

ROUTER_FAULTS = (
    Fault("router-asn", "ROUTER", "it expects other AS numbers of the nodes",
          *_router(router.every_group(remote_asn=64999)), "", "CRN-201", "router", FROM_LAN),
    Fault("router-password", "ROUTER", "it wants a TCP MD5 key that the nodes do not have",
          *_router(router.every_group(**KEY)), "", "CRN-202", "router", FROM_LAN),
    Fault("router-filters", "ROUTER", "its import filter takes no VIP",
          *_router(router.every_group(accept=["203.0.113.0/24"])), "",
          "CRN-212", "router", FROM_LAN),
    Fault("router-limit", "ROUTER", "it takes fewer prefixes than the nodes announce",
          *_router(router.every_group(max_prefixes=1)), "", "CRN-208", "router",
          needs="a second address that the nodes announce"),
    Fault("router-families", "ROUTER", "it negotiates IPv6 routes alone",
          *_router(router.every_group(families=[IPV6_UNICAST])), "",
          "CRN-219", "router", FROM_LAN),
    Fault("router-single-path", "ROUTER", "multipath is off: it uses one next hop",
          *_router(router.top(multipath=1)), "", "CRN-215", "router", FROM_LAN),
)  # fmt: skip

BGP_FAULTS = (
    Fault("wrong-asn", "POLICY", "the nodes expect another AS number of the router",
          *_peering(peerASN=64999), "", "CRN-201", PEERING, FROM_LAN),
    Fault("wrong-password", "POLICY", "the nodes have a TCP MD5 key that the router does not",
          *_peering(**KEY), "", "CRN-202", PEERING, FROM_LAN),
    Fault("secret-missing", "POLICY", "its password is in a Secret that does not exist",
          *_peering(authSecretRef="no-such-secret"), "", "CRN-224", PEERING, FROM_LAN),
    Fault("wrong-peer", "POLICY", "the peer's address is nobody's",
          *_peering(peerAddress="192.168.1.9"), "", "CRN-206", PEERING, FROM_LAN),
    Fault("no-node-selected", "POLICY", "its nodeSelector selects no node",
          partial(objects.edit, resource=BGP_PEERING_POLICIES, by=_everywhere),
          partial(objects.put_back, resource=BGP_PEERING_POLICIES), "",
          "CRN-218", PEERING, FROM_LAN),
    Fault("no-service-selected", "POLICY", "its serviceSelector selects no Service",
          partial(objects.edit, resource=BGP_PEERING_POLICIES, by=_announce),
          partial(objects.put_back, resource=BGP_PEERING_POLICIES), "",
          "CRN-108", PEERING, FROM_LAN),
    Fault("no-peering", "POLICY", "nobody has written who peers: it is deleted",
          partial(objects.remove, resource=BGP_PEERING_POLICIES),
          partial(objects.make_again, resource=BGP_PEERING_POLICIES), "",
          "CRN-250", PEERING, FROM_LAN),
)  # fmt: skip

SERVICE_FAULTS = (
    Fault("no-pool", "POOL", "the only pool is deleted",
          partial(objects.remove, resource=POOLS), partial(objects.make_again, resource=POOLS), "",
          "CRN-150", "homelab-pool"),
    Fault("no-label", "SERVICE", "it lacks the label that the pool selects by",
          partial(objects.change, resource=SERVICES,
                  patch={"metadata": {"labels": {"io.cilium/lb-ipam-ips": None}}}),
          partial(objects.put_back, resource=SERVICES), "",
          "CRN-103", WEB, f"client-1 {WEB}"),
    Fault("wrong-selector", "SERVICE", "its selector is mistyped and selects no pod",
          *_service(selector={"app": "wep-app"}), "", "CRN-501", WEB, FROM_LAN),
    Fault("wrong-target-port", "SERVICE", "its targetPort is none that the application has",
          *_service(ports=[{"port": 80, "targetPort": 8081}]), "", "CRN-503", WEB, FROM_LAN),
    Fault("wrong-port", "SERVICE", "its port is mistyped: clients ask for another",
          *_service(ports=[{"port": 81, "targetPort": 8080}]), "",
          "CRN-550", WEB, f"client-1 {VIP}:80"),
    Fault("port-name", "SERVICE", "its targetPort is a name that no container has",
          *_service(ports=[{"port": 80, "targetPort": "htpp"}]), "", "CRN-511", WEB, FROM_LAN),
    Fault("source-ranges", "SERVICE", "it is open to networks that the client is not in",
          *_service(loadBalancerSourceRanges=["203.0.113.0/24"]), "", "CRN-555", WEB, FROM_LAN),
    Fault("scaled-to-nothing", "DEPLOYMENT", "no replica of the application runs",
          *_replicas(0), "", "CRN-501", WEB, FROM_LAN),
)  # fmt: skip

AREAS = {
    "the wire": WIRE_FAULTS,
    "hosts: kernel, routes, addresses, firewall": HOST_FAULTS,
    "processes": PROCESS_FAULTS,
    "a node's data plane, disks, certificates, clock": INSIDE_FAULTS,
    "the home router's configuration": ROUTER_FAULTS,
    "BGP policies": BGP_FAULTS,
    "Services": SERVICE_FAULTS,
    "applications, pools and policies that are added": WORKLOAD_FAULTS,
}
"""What can be broken, by where it is."""
FAULTS = tuple(fault for faults in AREAS.values() for fault in faults)
"""Every fault that a lab knows."""
