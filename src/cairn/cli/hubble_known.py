"""Says of pods that a user names, and nobody knows, that this is so.

    Hubble, Chosen  ->  a line for each on standard error

A pod that is gone is known as long as a flow names it; a pod that never spoke, as long as the
cluster has it. A filter takes the beginning of a name.
"""

import asyncio
import importlib
import threading
from collections.abc import Iterable
from typing import Any

from cairn.cli.hubble_show import complain
from cairn.hubble.client import Hubble, NoAnswer
from cairn.hubble.client_filter import Chosen
from cairn.hubble.proto import message


def warn_of_unknown(
    hubble: Hubble, chosen: Chosen, kubeconfig: str | None, *, later: bool = False
) -> None:
    """Print a line for each pod that is asked for and not known; `later`: while others work."""
    names = pods_of(chosen.allow)
    if not names:
        return
    if later:
        words = (hubble, names, kubeconfig)
        threading.Thread(target=_warn, args=words, daemon=True).start()
    else:
        _warn(hubble, names, kubeconfig)


def pods_of(filters: Iterable[Any]) -> list[str]:
    """Return the pods that filters name, as `namespace/name`; namespaces alone are none."""
    found: dict[str, None] = {}
    for one in filters:
        for text in (*one.source_pod, *one.destination_pod):
            namespace, slash, name = text.rpartition("/")
            if name:
                found[f"{namespace}/{name}" if slash else f"default/{name}"] = None
    return list(found)


def _warn(hubble: Hubble, names: list[str], kubeconfig: str | None) -> None:
    try:
        unseen = [name for name in names if not _is_in_flows(hubble, name)]
    except NoAnswer:
        return
    if not unseen:
        return
    known = _known(kubeconfig)
    for name in unseen:
        namespace = name.partition("/")[0]
        look = f"kubectl get pods -n {namespace}" if namespace else "kubectl get pods -A"
        if known is None:
            complain(f"warning: no flow names a pod {name}, and the cluster cannot be asked")
        elif not _is_known(name, known):
            complain(f"warning: neither the cluster nor any flow has a pod {name}: see `{look}`")


def _is_in_flows(hubble: Hubble, name: str) -> bool:
    request = message("observer.GetFlowsRequest")(number=1)
    request.whitelist.add(source_pod=[name])
    request.whitelist.add(destination_pod=[name])
    return any(one.WhichOneof("response_types") == "flow" for one in hubble.flows(request))


def _is_known(name: str, known: Iterable[tuple[str, str]]) -> bool:
    namespace, _, prefix = name.partition("/")
    return any(pod.startswith(prefix) and namespace in ("", where) for where, pod in known)


def _known(kubeconfig: str | None) -> list[tuple[str, str]] | None:
    """Return namespace and name of each pod of the cluster; None if it cannot be asked."""
    # By its name: most questions are answered without the cluster.
    cluster: Any = importlib.import_module("cairn.cli.hubble_cluster")
    found: list[tuple[str, str]] | None = asyncio.run(cluster.pod_names(kubeconfig))
    return found
