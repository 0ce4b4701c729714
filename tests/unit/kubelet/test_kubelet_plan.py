"""From a pod's spec to the program, environment and mounts of a container."""

from pathlib import Path
from typing import Any

import pytest

from cairn.lab.images.table import ALL, UnknownImage, find_image, short_name
from cairn.lab.kubelet import volumes
from cairn.lab.kubelet.container_plan import (
    ConfigError,
    PodFacts,
    arguments,
    build_environment,
    expand,
    references,
    user_of,
)
from cairn.lab.kubelet.places import Places
from cairn.lab.kubelet.volumes import Account, MountError, NameService
from cairn.lab.state import Lab

FACTS = PodFacts(
    node="node-1",
    host_addresses=("192.168.1.10", "fd00:1::a"),
    pod_addresses=("10.244.1.5", "fd00:10:244:1::5"),
    service_host="10.96.0.1",
    service_port="443",
    config_maps={"settings": {"color": "blue", "size": "7"}},
    secrets={"keys": {"token": "s3cret"}},
)
NAMES = NameService("10.96.0.10", "cluster.local", "nameserver 192.168.1.1\n")


def pod(spec: dict[str, Any] | None = None) -> dict[str, Any]:
    metadata = {
        "name": "web-1",
        "namespace": "shop",
        "uid": "11112222-3333",
        "labels": {"app": "web"},
    }
    return {"kind": "Pod", "metadata": metadata, "spec": spec or {}}


@pytest.mark.parametrize(
    ("image", "container", "argv"),
    [
        ("toolbox", {}, ["sleep", "infinity"]),
        ("toolbox", {"args": ["ls"]}, ["ls"]),
        ("toolbox", {"command": ["sh", "-c", "true"]}, ["sh", "-c", "true"]),
        ("toolbox", {"command": ["echo"], "args": ["$(COLOR)", "$$(COLOR)"]},
         ["echo", "red", "$(COLOR)"]),
    ],
)  # fmt: skip
def test_arguments(image: str, container: dict[str, Any], argv: list[str]) -> None:
    assert arguments(container, find_image(image), {"COLOR": "red"}) == argv


@pytest.mark.parametrize(
    ("text", "result"),
    [("$(A)", "1"), ("$(NONE)", "$(NONE)"), ("$$", "$"), ("$$(A)", "$(A)"), ("a$(A)$(A)", "a11")],
)
def test_expand(text: str, result: str) -> None:
    assert expand(text, {"A": "1"}) == result


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ({"value": "plain"}, "plain"),
        ({"value": "on $(KUBERNETES_SERVICE_HOST)"}, "on 10.96.0.1"),
        ({"valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}, "shop"),
        ({"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}, "node-1"),
        ({"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, "10.244.1.5"),
        (
            {"valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
            "10.244.1.5,fd00:10:244:1::5",
        ),
        ({"valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}, "192.168.1.10"),
        (
            {"valueFrom": {"fieldRef": {"fieldPath": "status.hostIPs"}}},
            "192.168.1.10,fd00:1::a",
        ),
        ({"valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}, "web"),
        ({"valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}}, "blue"),
        ({"valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}, "s3cret"),
        ({"valueFrom": {"configMapKeyRef": {"name": "no", "key": "x", "optional": True}}}, None),
        ({"valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}, "2"),
    ],
)
def test_environment(variable: dict[str, Any], value: str | None) -> None:
    container = {"env": [{"name": "X", **variable}], "resources": {"limits": {"cpu": "2"}}}
    found = build_environment(pod(), container, find_image("toolbox"), FACTS)
    assert found.get("X") == value
    assert found["HOSTNAME"] == "web-1"


def test_environment_from_whole_maps_yields_to_single_variables() -> None:
    container = {
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "settings"}}],
        "env": [{"name": "P_size", "value": "9"}],
    }
    found = build_environment(pod(), container, find_image("toolbox"), FACTS)
    assert (found["P_color"], found["P_size"]) == ("blue", "9")


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "x"}}, 'configmap "none" not found'),
        ({"secretKeyRef": {"name": "keys", "key": "x"}}, "couldn't find key x in secret keys"),
        ({"fieldRef": {"fieldPath": "spec.nonsense"}}, "not supported"),
    ],
)
def test_what_is_missing_is_named(origin: dict[str, Any], message: str) -> None:
    container = {"env": [{"name": "X", "valueFrom": origin}]}
    with pytest.raises(ConfigError, match=message):
        build_environment(pod(), container, find_image("toolbox"), FACTS)


def test_references() -> None:
    spec = {
        "containers": [
            {
                "name": "a",
                "envFrom": [{"configMapRef": {"name": "one"}}],
                "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "two", "key": "k"}}}],
            }
        ],
        "volumes": [
            {"name": "v", "configMap": {"name": "three"}},
            {"name": "w", "secret": {"secretName": "four"}},
            {"name": "x", "projected": {"sources": [{"secret": {"name": "five"}}]}},
        ],
    }
    found = {("ConfigMap", "one"), ("ConfigMap", "three")}
    found |= {("Secret", "two"), ("Secret", "four"), ("Secret", "five")}
    assert references(pod(spec)) == found


def test_user_of_the_container_comes_before_the_pods() -> None:
    spec = {"securityContext": {"runAsUser": 1000, "runAsGroup": 2000}}
    assert user_of(pod(spec), {}) == (1000, 2000)
    assert user_of(pod(spec), {"securityContext": {"runAsUser": 5}}) == (5, 2000)
    assert user_of(pod(), {}) == (None, None)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("web", "web"),
        ("cairn.io/lab/web:1.0", "web"),
        ("docker.io/library/busybox", "busybox"),
        ("localhost:5000/team/nginx:1@sha256:00", "nginx"),
    ],
)
def test_short_name(reference: str, name: str) -> None:
    assert short_name(reference) == name


def test_every_image_is_found_by_each_of_its_names() -> None:
    names = [(image, name) for image in ALL for name in (image.name, *image.aliases)]
    assert len({name for _, name in names}) == len(names), "a name stands for one image"
    for image, name in names:
        assert find_image(f"registry.example/x/{name}:2", lambda _: True) is image


def test_unknown_and_not_installed_images_say_what_to_do() -> None:
    with pytest.raises(UnknownImage, match="it can run: web, database, toolbox"):
        find_image("oracle:19", lambda _: False)
    with pytest.raises(UnknownImage, match="apt-get install nginx"):
        find_image("nginx", lambda _: False)


class TestVolumes:
    @pytest.fixture
    def places(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
        monkeypatch.setattr("cairn.lab.state.RUN_ROOT", tmp_path)
        return Places(Lab("ctvol", state=str(tmp_path / "state")), "node-1")

    def prepare(self, places: Places, spec: dict[str, Any]) -> dict[str, Path]:
        return volumes.prepare(places, pod(spec), FACTS, Account("t0ken", "PEM"), NAMES)

    def test_kinds(self, places: Places) -> None:
        found = self.prepare(
            places,
            {
                "volumes": [
                    {"name": "map", "configMap": {"name": "settings"}},
                    {"name": "one", "configMap": {"name": "settings",
                                                  "items": [{"key": "size", "path": "deep/s"}]}},
                    {"name": "secret", "secret": {"secretName": "keys"}},
                    {"name": "tmp", "emptyDir": {}},
                    {"name": "down", "downwardAPI": {"items": [
                        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                    {"name": "token", "projected": {"sources": [
                        {"serviceAccountToken": {"path": "token"}}]}},
                    {"name": "host", "hostPath": {"path": "/var/data",
                                                  "type": "DirectoryOrCreate"}},
                ]
            },
        )  # fmt: skip
        assert (found["map"] / "color").read_text() == "blue"
        assert (found["one"] / "deep/s").read_text() == "7"
        assert not (found["one"] / "color").exists()
        assert (found["secret"] / "token").read_text() == "s3cret"
        assert list(found["tmp"].iterdir()) == []
        assert (found["down"] / "labels").read_text() == 'app="web"'
        assert (found["token"] / "token").read_text() == "t0ken"
        assert found["host"] == places.files / "var/data"

    @pytest.mark.parametrize(
        ("volume", "message"),
        [
            ({"nfs": {"server": "x"}}, "nfs; the lab has emptyDir"),
            ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
            ({"secret": {"secretName": "keys", "items": [{"key": "a", "path": "b"}]}}, "no key"),
            ({"hostPath": {"path": "/nowhere", "type": "Directory"}}, "not on this node"),
            ({"configMap": {"name": "settings", "items": [{"key": "size", "path": "../x"}]}},
             "leads out"),
        ],
    )  # fmt: skip
    def test_refused(self, places: Places, volume: dict[str, Any], message: str) -> None:
        with pytest.raises(MountError, match=message):
            self.prepare(places, {"volumes": [{"name": "v", **volume}]})

    def test_node_paths(self, places: Places) -> None:
        assert places.host_path("/sys/fs/bpf/cairn").parts[-3:] == (
            "cairn-ctvol",
            "node-1",
            "cairn",
        )
        assert places.host_path("/run/cairn") == places.files / "run/cairn"

    def test_binds_and_their_errors(self, places: Places) -> None:
        found = self.prepare(places, {"volumes": [{"name": "tmp", "emptyDir": {}}]})
        mounts = [
            {"name": "tmp", "mountPath": "/b", "readOnly": True},
            {"name": "tmp", "mountPath": "/a"},
        ]
        rows = volumes.binds(places, pod(), {"volumeMounts": mounts}, found)
        targets = [target for _, target, _ in rows]
        assert targets[:3] == ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"]
        assert targets[3:] == [volumes.ACCOUNT_FOLDER, "/a", "/b"]
        assert rows[-1][2]
        missing = {"volumeMounts": [{"name": "none", "mountPath": "/x"}]}
        with pytest.raises(MountError, match="no volume 'none'"):
            volumes.binds(places, pod(), missing, found)

    @pytest.mark.parametrize(
        ("spec", "text"),
        [
            ({}, "nameserver 10.96.0.10\n"
                 "search shop.svc.cluster.local svc.cluster.local cluster.local\n"
                 "options ndots:5\n"),
            ({"dnsPolicy": "Default"}, "nameserver 192.168.1.1\n"),
            ({"hostNetwork": True}, "nameserver 192.168.1.1\n"),
            ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"]}},
             "nameserver 9.9.9.9\n"),
        ],
    )  # fmt: skip
    def test_resolv_conf(self, spec: dict[str, Any], text: str) -> None:
        assert volumes.resolv_conf(pod(spec), NAMES) == text
