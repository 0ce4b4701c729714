"""The table of lab images: the programs that stand behind image names.

    image reference  ->  Image(entrypoint, arguments, environment) | UnknownImage

Registry, tag and digest of a reference are ignored; `cairn.io/lab/web:1`, `web` and
`docker.io/library/web` are one.  A program that is not installed makes its image unknown, with a
reason that says which package brings it.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cairn.kube.metadata import Object

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POSTGRES = Path("/usr/lib/postgresql")


class UnknownImage(Exception):
    """An image that the lab cannot run; the text says which it can."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a container of this image runs."""

    name: str
    """Its short name."""
    entrypoint: tuple[str, ...]
    """Replaced by a container's `command`."""
    arguments: tuple[str, ...] = ()
    """Replaced by a container's `args`, or dropped when it gives a `command`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the image sets."""
    aliases: tuple[str, ...] = ()
    """Further names."""
    needs: str = ""
    """Program that must be installed; empty if it comes with Cairn."""
    package: str = ""
    """Debian package that brings it."""
    about: str = ""
    """What it is, in a few words."""

    def pod_environment(self, pod: Object, node: str) -> dict[str, str]:
        """Return the variables by which our own programs know where they run."""
        metadata = pod["metadata"]
        if self.name not in OURS:
            return {}
        return {
            "CAIRN_POD": metadata["name"],
            "CAIRN_NAMESPACE": metadata.get("namespace", ""),
            "CAIRN_NODE": node,
        }


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)


OURS = frozenset({"web", "database", "cluster-dns", "cairn"})
_FOREVER = ("sleep", "infinity")

ALL: tuple[Image, ...] = (
    Image(
        "web",
        _module("cairn.lab.images.web"),
        aliases=("web-app", "my-web-app", "echo", "whoami", "httpbin", "hello-world"),
        about="web server on port 8080 that says who it is and who asks",
    ),
    Image(
        "database",
        _module("cairn.lab.images.database"),
        aliases=("db",),
        about="small service on port 5432 that answers as PostgreSQL does at start",
    ),
    Image(
        "nginx",
        ("nginx",),
        ("-g", "daemon off; error_log stderr;"),
        aliases=("nginx-ingress",),
        needs="nginx",
        package="nginx-light",
        about="the web server",
    ),
    Image(
        "postgres",
        _module("cairn.lab.images.postgres"),
        aliases=("postgresql",),
        needs="postgres",
        package="postgresql",
        about="the database",
    ),
    Image(
        "iperf3",
        ("iperf3",),
        ("--server",),
        aliases=("iperf",),
        needs="iperf3",
        package="iperf3",
        about="bandwidth measurement",
    ),
    Image(
        "toolbox",
        (),
        _FOREVER,
        aliases=("busybox", "alpine", "debian", "ubuntu", "netshoot", "curl", "bash", "pause"),
        about="a shell and this machine's programs",
    ),
    Image("cairn", (sys.executable, "-m", "cairn.cli.main"), about="the cairn command"),
    Image(
        "cluster-dns",
        (sys.executable, "-m", "cairn.cli.main", "lab", "dns"),
        aliases=("kube-dns", "coredns"),
        about="DNS server of cluster.local",
    ),
)


def short_name(reference: str) -> str:
    """Return an image reference without registry, path, tag and digest."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0]


def find_image(reference: str, installed: Callable[[str], bool] | None = None) -> Image:
    """Return what runs for `reference`; raises UnknownImage."""
    present = installed or is_installed
    name = short_name(reference)
    for image in ALL:
        if name != image.name and name not in image.aliases:
            continue
        if image.needs and not present(image.needs):
            raise UnknownImage(
                f'image "{reference}": {image.needs} is not installed on this machine; '
                f"try: apt-get install {image.package}"
            )
        return image
    known = ", ".join(image.name for image in ALL if not image.needs or present(image.needs))
    raise UnknownImage(f'image "{reference}" is not one of the lab\'s; it can run: {known}')


def is_installed(program: str) -> bool:
    """Return whether a program is on this machine."""
    return find_program(program) is not None


def find_program(program: str) -> str | None:
    """Return the path of a program; PostgreSQL's lie outside the usual path."""
    folders = [*SEARCH.split(":"), *(str(p) for p in sorted(POSTGRES.glob("*/bin"), reverse=True))]
    return shutil.which(program, path=os.pathsep.join(folders))
