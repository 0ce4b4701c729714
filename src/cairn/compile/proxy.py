"""Redirects as listeners and routes of one node's Envoy.

    {port: Redirect}, values of Secrets  ->  ProxyState;  node, directory  ->  bootstrap

One listener stands at 127.0.0.1 and at ::1 of each port. It takes connections for any destination,
answers in that destination's name and goes on to it in the client's: neither end sees a proxy.
Where both are given, connections that begin with TLS are judged by `server_names`, the others by
`http`.

Invariants  The listener of a port depends on nothing but the redirect's kind, direction and
            server names: rules about requests are routes of their own, and change in place.
            A request is judged in the form in which it is forwarded: paths are made normal first
            (RFC 3986 s6.2.2, doubled slashes merged), and escaped slashes are answered by a
            redirection to the path with plain ones.
            A client's connections to a destination are used by that client alone.
            The proxy's own connections have source ports that clients seldom choose: else the two
            halves of a client's connections could meet in one tuple.
Standards   envoy.config.listener.v3, envoy.extensions.filters.network.http_connection_manager.v3
Not here    what routes say (proxy_routes.py), the packets' way to the listener (bpf/lib/proxy.h)
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cairn.abi.structs import MARK_EGRESS_PROXY, MARK_INGRESS_PROXY
from cairn.compile.proxy_routes import (
    CLUSTER,
    Secrets,
    TooManyRoutes,
    route_configuration,
)
from cairn.desired.policy import Redirect
from cairn.desired.proxy import (
    ACCESS_LOG,
    ADMIN,
    LISTENERS,
    PORT_SHIFT,
    PROXY_PORTS,
    ROUTES,
    ProxyState,
    Resource,
)
from cairn.kube.policy.rule import Direction

KEEPALIVE = {"keepalive_probes": 4, "keepalive_time": 300, "keepalive_interval": 30}
UNLIMITED = 4_294_967_295
MOST_HEADERS = 1000
IDLE_S = 60
"""How long a connection to a destination is kept for the next request of the same client."""

_MARKS = {Direction.EGRESS: MARK_EGRESS_PROXY, Direction.INGRESS: MARK_INGRESS_PROXY}
_TYPE = "type.googleapis.com/envoy."
_LISTENER_FILTER = "extensions.filters.listener"
_NETWORK_FILTER = "extensions.filters.network"
_SO_MARK = 1, 36
_PORT_RANGE = 0, 51
"""Level and name of socket options: SO_MARK; IP_LOCAL_PORT_RANGE, for both families."""
_HTTP_OPTIONS = "extensions.upstreams.http.v3.HttpProtocolOptions"


def compile_proxy(
    redirects: Mapping[int, Redirect],
    directory: Path,
    secrets: Secrets | None = None,
    leaving: Mapping[int, Redirect] | None = None,
) -> ProxyState:
    """Return what Envoy should serve for the redirects that are its own: all but DNS.

    `leaving`: rules for the connections of listeners that are no longer there.
    """
    listeners: dict[int, Resource] = {}
    routes: dict[int, Resource] = {}
    refused: dict[int, str] = {}
    for port, redirect in sorted({**(leaving or {}), **redirects}.items()):
        if redirect.dns is not None:
            continue
        if port in redirects:
            listeners[port] = listener(port, redirect, directory)
        if redirect.http is None:
            continue
        try:
            routes[port] = route_configuration(str(port), redirect.http, secrets or {})
        except TooManyRoutes as error:
            refused[port] = str(error)
            routes[port] = route_configuration(str(port), (), {})
    return ProxyState(listeners, routes, refused)


def secrets_of(redirects: Mapping[int, Redirect]) -> frozenset[tuple[str, str]]:
    """Return namespaces and names of the Secrets that the rules compare headers with."""
    return frozenset(
        header.secret
        for redirect in redirects.values()
        for rule in redirect.http or ()
        for header in rule.headers
        if header.secret
    )


def listener(port: int, redirect: Redirect, directory: Path) -> dict[str, Any]:
    """Return the listener of one redirect."""
    chains = []
    if redirect.server_names:
        chains.append(
            {
                "filter_chain_match": {"transport_protocol": "tls"},
                "filters": _tls_filters(port, redirect, directory),
            }
        )
    if redirect.http is not None:
        chains.append({"filters": [_http_manager(port, redirect, directory)]})
    first = [_filter(_LISTENER_FILTER, "original_dst", "OriginalDst")]
    if redirect.server_names:
        first.append(_filter(_LISTENER_FILTER, "tls_inspector", "TlsInspector"))
    last = _filter(_LISTENER_FILTER, "original_src", "OriginalSrc", mark=_MARKS[redirect.direction])
    return {
        "@type": f"{_TYPE}config.listener.v3.Listener",
        "name": str(port),
        "address": _address("127.0.0.1", port),
        "additional_addresses": [{"address": _address("::1", port)}],
        "transparent": True,
        "socket_options": [_socket_option("SO_MARK", *_SO_MARK, port << PORT_SHIFT)],
        "listener_filters": [*first, last],
        "filter_chains": chains,
        "tcp_keepalive": KEEPALIVE,
        # A connection that no chain takes: not TLS, where only TLS is allowed.
        "access_log": [
            _access_log(port, redirect, directory)
            | {"filter": {"response_flag_filter": {"flags": ["NR"]}}}
        ],
    }


# Envoy refuses expressions of more than a hundred steps unless told otherwise: `[a-z-]{1,63}` has
# more. What policies hold was bounded when they were read (kube.policy.regex).
_RUNTIME = {
    "layers": [
        {"name": "cairn", "static_layer": {"re2.max_program_size.error_level": 1_000_000}},
    ]
}


def bootstrap(node: str, directory: Path) -> dict[str, Any]:
    """Return the file that Envoy starts from: all else is in files that it watches."""
    return {
        "node": {"id": node, "cluster": "cairn"},
        "layered_runtime": _RUNTIME,
        "admin": {"address": {"pipe": {"path": str(directory / ADMIN), "mode": 0o600}}},
        "dynamic_resources": {"lds_config": _watched(directory, LISTENERS)},
        "static_resources": {"clusters": [_origin()]},
    }


def trial(routes: Resource) -> dict[str, Any]:
    """Return a bootstrap by which Envoy can be asked whether it takes a RouteConfiguration."""
    manager = _filter(
        _NETWORK_FILTER,
        "http_connection_manager",
        "HttpConnectionManager",
        stat_prefix="trial",
        route_config={key: value for key, value in routes.items() if key != "@type"},
        http_filters=[_filter("extensions.filters.http", "router", "Router")],
    )
    return {
        "layered_runtime": _RUNTIME,
        "static_resources": {
            "clusters": [_origin()],
            "listeners": [
                {
                    "name": "trial",
                    "address": _address("127.0.0.1", 0),
                    "filter_chains": [{"filters": [manager]}],
                }
            ],
        },
    }


def _origin() -> dict[str, Any]:
    first, last = PROXY_PORTS
    many = {"max_connections", "max_pending_requests", "max_requests", "max_retries"}
    return {
        "name": CLUSTER,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "60s",
        "upstream_bind_config": {
            "socket_options": [
                _socket_option("IP_LOCAL_PORT_RANGE", *_PORT_RANGE, last << 16 | first)
            ]
        },
        "circuit_breakers": {
            "thresholds": [
                {"priority": priority, **dict.fromkeys(sorted(many), UNLIMITED)}
                for priority in ("DEFAULT", "HIGH")
            ]
        },
        "upstream_connection_options": {"tcp_keepalive": KEEPALIVE},
        "typed_extension_protocol_options": {
            f"envoy.{_HTTP_OPTIONS}": {
                "@type": _TYPE + _HTTP_OPTIONS,
                "common_http_protocol_options": {
                    "idle_timeout": f"{IDLE_S}s",
                    "max_headers_count": MOST_HEADERS,
                },
                "use_downstream_protocol_config": {
                    "http_protocol_options": _http1(),
                    "http2_protocol_options": {},
                },
            }
        },
    }


def _http1() -> dict[str, Any]:
    return {
        "accept_http_10": True,
        "enable_trailers": True,
        "header_key_format": {
            "stateful_formatter": {
                "name": "preserve_case",
                "typed_config": {
                    "@type": f"{_TYPE}extensions.http.header_formatters.preserve_case.v3"
                    ".PreserveCaseFormatterConfig"
                },
            }
        },
    }


def _http_manager(port: int, redirect: Redirect, directory: Path) -> dict[str, Any]:
    return _filter(
        _NETWORK_FILTER,
        "http_connection_manager",
        "HttpConnectionManager",
        stat_prefix=redirect.direction.value,
        codec_type="AUTO",
        rds={
            "route_config_name": str(port),
            "config_source": _watched(directory, ROUTES.format(port=port)),
        },
        http_filters=[
            _filter("extensions.filters.http", "router", "Router", suppress_envoy_headers=True)
        ],
        access_log=[_access_log(port, redirect, directory)],
        http_protocol_options=_http1(),
        common_http_protocol_options={"idle_timeout": "0s", "max_headers_count": MOST_HEADERS},
        stream_idle_timeout="0s",
        max_request_headers_kb=256,
        # The form in which a request is judged is the form in which it goes on.
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="UNESCAPE_AND_REDIRECT",
        # What the ends say to each other stays as it is.
        use_remote_address=False,
        skip_xff_append=True,
        generate_request_id=False,
        preserve_external_request_id=True,
        server_header_transformation="PASS_THROUGH",
        proxy_100_continue=True,
        upgrade_configs=[{"upgrade_type": "websocket"}],
    )


def _tls_filters(port: int, redirect: Redirect, directory: Path) -> list[dict[str, Any]]:
    names = [
        {"requested_server_name": {"safe_regex": {"regex": _server_name(name)}}}
        for name in redirect.server_names
    ]
    allowed = {"permissions": [{"or_rules": {"rules": names}}], "principals": [{"any": True}]}
    return [
        _filter(
            _NETWORK_FILTER,
            "rbac",
            "RBAC",
            stat_prefix=redirect.direction.value,
            rules={"action": "ALLOW", "policies": {"server names": allowed}},
        ),
        _filter(
            _NETWORK_FILTER,
            "tcp_proxy",
            "TcpProxy",
            stat_prefix=redirect.direction.value,
            cluster=CLUSTER,
            idle_timeout="0s",
            access_log=[_access_log(port, redirect, directory)],
        ),
    ]


def _server_name(name: str) -> str:
    """Return the expression of a server name in which `*` stands for one label, `**` for more."""
    parts: Sequence[str] = re.split(r"(\*+)", name.lower())
    words = {"*": "[^.]*", "**": ".*"}
    return "".join(words.get(part, re.escape(part)) for part in parts)


def _access_log(port: int, redirect: Redirect, directory: Path) -> dict[str, Any]:
    return {
        "name": "file",
        "typed_config": {
            "@type": f"{_TYPE}extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(directory / ACCESS_LOG),
            "log_format": {
                "json_format": {
                    "time": "%START_TIME%",
                    "direction": redirect.direction.value,
                    "listener": port,
                    "source": "%DOWNSTREAM_REMOTE_ADDRESS%",
                    "destination": "%DOWNSTREAM_LOCAL_ADDRESS%",
                    "protocol": "%PROTOCOL%",
                    "method": "%REQ(:METHOD)%",
                    "host": "%REQ(:AUTHORITY)%",
                    "path": "%REQ(:PATH)%",
                    "server_name": "%REQUESTED_SERVER_NAME%",
                    "rule": "%ROUTE_NAME%",
                    "status": "%RESPONSE_CODE%",
                    "details": "%RESPONSE_CODE_DETAILS%",
                    "ended": "%CONNECTION_TERMINATION_DETAILS%",
                    "flags": "%RESPONSE_FLAGS%",
                    "received_bytes": "%BYTES_RECEIVED%",
                    "sent_bytes": "%BYTES_SENT%",
                    "duration_ms": "%DURATION%",
                },
                "omit_empty_values": True,
            },
        },
    }


def _watched(directory: Path, name: str) -> dict[str, Any]:
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": str(directory / name)},
    }


def _filter(area: str, name: str, message: str, **config: Any) -> dict[str, Any]:
    return {
        "name": name,
        "typed_config": {"@type": f"{_TYPE}{area}.{name}.v3.{message}", **config},
    }


def _socket_option(description: str, level: int, name: int, value: int) -> dict[str, Any]:
    return {
        "description": description,
        "level": level,
        "name": name,
        "int_value": value,
        "state": "STATE_PREBIND",
    }


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
