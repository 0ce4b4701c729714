"""A pod's volumes and network files, as folders and files to be bound into its containers.

    Pod, PodFacts, Places  ->  files below the pod's folder  ->  binds of each container

Invariants  A file is replaced whole, never rewritten in place.
            A volume of a kind that the lab lacks is refused by name; none is left out.
Standards   Kubernetes API reference, Volume and VolumeMount
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cairn.kube.metadata import Object
from cairn.lab.kubelet.container_plan import (
    ConfigError,
    PodFacts,
    field_value,
    host_name,
    user_of,
)
from cairn.lab.kubelet.places import Places
from cairn.lab.state import write_whole

ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
HOST_DEVICES = ("/dev/null", "/dev/zero", "/dev/net/tun", "/dev")
KINDS = "emptyDir, configMap, secret, projected, downwardAPI and hostPath"

Bind = tuple[str, str, bool]


class MountError(Exception):
    """A volume that cannot be made (FailedMount)."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a pod proves itself with to the API server."""

    token: str
    """Bearer token."""
    authority: str
    """The API server's CA certificate, PEM."""


@dataclass(frozen=True, slots=True)
class NameService:
    """How names are resolved on the node and in pods."""

    cluster: str
    """Address of the cluster's DNS server."""
    domain: str
    """The cluster's domain."""
    node: str
    """The node's own resolv.conf."""


def prepare(
    places: Places, pod: Object, facts: PodFacts, account: Account | None, names: NameService
) -> dict[str, Path]:
    """Write a pod's files and return where each volume lies; raises MountError, ConfigError."""
    folder = places.pod(pod["metadata"]["uid"])
    etc = folder / "etc"
    write_whole(etc / "hosts", hosts_file(pod, facts))
    write_whole(etc / "hostname", host_name(pod, facts) + "\n")
    write_whole(etc / "resolv.conf", resolv_conf(pod, names))
    if account:
        _write_account(folder / "account", pod, account)
    volumes = {}
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        volumes[volume["name"]] = _volume(places, pod, facts, account, volume)
    return volumes


def binds(
    places: Places, pod: Object, container: Object, volumes: Mapping[str, Path]
) -> list[Bind]:
    """Return what is to be bound into a container, outer folders first."""
    folder = places.pod(pod["metadata"]["uid"])
    found: list[Bind] = [
        (str(folder / "etc" / name), f"/etc/{name}", False)
        for name in ("hosts", "hostname", "resolv.conf")
    ]
    mounts = container.get("volumeMounts") or ()
    if (folder / "account").is_dir() and all(m["mountPath"] != ACCOUNT_FOLDER for m in mounts):
        found.append((str(folder / "account"), ACCOUNT_FOLDER, True))
    for mount in sorted(mounts, key=lambda m: str(m["mountPath"])):
        if mount["name"] not in volumes:
            raise MountError(f"volumeMounts: the pod has no volume {mount['name']!r}")
        source = volumes[mount["name"]]
        if mount.get("subPath"):
            source = _sub_path(source, str(mount["subPath"]))
        found.append((str(source), str(mount["mountPath"]), bool(mount.get("readOnly"))))
    return found


def hosts_file(pod: Object, facts: PodFacts) -> str:
    """Return the pod's /etc/hosts."""
    spec = pod.get("spec") or {}
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{address}\t{host_name(pod, facts)}" for address in facts.pod_addresses]
    lines += [
        f"{alias['ip']}\t{' '.join(alias.get('hostnames') or ())}"
        for alias in spec.get("hostAliases") or ()
    ]
    return "\n".join(lines) + "\n"


def resolv_conf(pod: Object, names: NameService) -> str:
    """Return the pod's /etc/resolv.conf, as its dnsPolicy and dnsConfig say."""
    spec = pod.get("spec") or {}
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    extra = spec.get("dnsConfig") or {}
    servers: list[str] = list(extra.get("nameservers") or ())
    searches: list[str] = list(extra.get("searches") or ())
    options = [
        f"{o['name']}:{o['value']}" if o.get("value") is not None else str(o["name"])
        for o in extra.get("options") or ()
    ]
    if policy == "Default" and not extra:
        return names.node
    if policy.startswith("ClusterFirst"):
        namespace = pod["metadata"].get("namespace", "default")
        servers.insert(0, names.cluster)
        searches = [
            f"{namespace}.svc.{names.domain}",
            f"svc.{names.domain}",
            names.domain,
            *searches,
        ]
        options.append("ndots:5")
    lines = [f"nameserver {server}" for server in servers]
    if searches:
        lines.append("search " + " ".join(searches))
    if options:
        lines.append("options " + " ".join(options))
    return "\n".join(lines) + "\n"


def _volume(
    places: Places, pod: Object, facts: PodFacts, account: Account | None, volume: Object
) -> Path:
    target = places.pod(pod["metadata"]["uid"]) / "volumes" / str(volume["name"])
    if "hostPath" in volume:
        return _host_path(places, volume["hostPath"])
    target.mkdir(parents=True, exist_ok=True)
    if "emptyDir" in volume:
        return target
    sources = (volume.get("projected") or {}).get("sources") or [volume]
    known = {"configMap", "secret", "downwardAPI", "projected", "serviceAccountToken"}
    for source in sources:
        if not known & set(source):
            kinds = ", ".join(sorted(set(source) - {"name"})) or "none"
            raise MountError(f'volume "{volume["name"]}": {kinds}; the lab has {KINDS}')
        for path, text in _files(pod, facts, account, source):
            write_whole(_sub_path(target, path), text)
    return target


def _host_path(places: Places, source: Object) -> Path:
    path, kind = str(source["path"]), source.get("type") or ""
    if path in HOST_DEVICES:
        return Path(path)
    real = places.host_path(path)
    if kind in ("File", "Directory", "Socket", "CharDevice", "BlockDevice") and not real.exists():
        raise MountError(f'hostPath "{path}" (type {kind}) is not on this node ({real})')
    if kind == "FileOrCreate":
        real.parent.mkdir(parents=True, exist_ok=True)
        real.touch()
    elif not real.exists():
        real.mkdir(parents=True)
    return real


def _files(
    pod: Object, facts: PodFacts, account: Account | None, source: Object
) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of what a volume or a source of a projected one holds."""
    if item := source.get("configMap"):
        yield from _chosen("configmap", item.get("name") or "", item, facts.config_maps)
    if item := source.get("secret"):
        name = item.get("secretName") or item.get("name") or ""
        yield from _chosen("secret", name, item, facts.secrets)
    if item := source.get("downwardAPI"):
        for entry in item.get("items") or ():
            reference = entry.get("fieldRef") or {}
            yield entry["path"], field_value(pod, reference.get("fieldPath") or "", facts)
    if item := source.get("serviceAccountToken"):
        if account is None:
            raise MountError("serviceAccountToken: the API server gave this pod no token")
        yield item.get("path") or "token", account.token


def _chosen(
    noun: str, name: str, source: Object, known: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, str]]:
    data: Mapping[str, Any] | None = known.get(name)
    if data is None:
        if not source.get("optional"):
            raise MountError(f'{noun} "{name}" not found')
        return
    items = source.get("items")
    for item in items or ({"key": key, "path": key} for key in data):
        if item["key"] not in data:
            raise MountError(f'{noun} "{name}" has no key {item["key"]!r}')
        yield item["path"], data[item["key"]]


def _sub_path(folder: Path, path: str) -> Path:
    parts = Path(path).parts
    if ".." in parts or path.startswith("/"):
        raise MountError(f"path {path!r} leads out of its volume")
    return folder.joinpath(*parts)


def _write_account(folder: Path, pod: Object, account: Account) -> None:
    containers = (pod.get("spec") or {}).get("containers") or ()
    as_root = all(user_of(pod, container)[0] in (None, 0) for container in containers)
    write_whole(folder / "token", account.token, 0o600 if as_root else 0o644)
    write_whole(folder / "ca.crt", account.authority)
    write_whole(folder / "namespace", pod["metadata"].get("namespace", "default"))


__all__ = ["Account", "ConfigError", "MountError", "NameService", "binds", "prepare"]
