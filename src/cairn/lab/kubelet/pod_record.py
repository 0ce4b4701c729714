"""Where a pod's processes are, for `cairn lab exec pod/NAMESPACE/NAME`.

Pod, Sandbox, views  ->  /run/cairn/LAB/pods/NAMESPACE/NAME.json
"""

import json
from collections.abc import Sequence

from cairn.kube.metadata import Object
from cairn.lab.kubelet.container_view import ContainerView
from cairn.lab.kubelet.places import Places
from cairn.lab.kubelet.sandbox import Sandbox
from cairn.lab.state import write_whole


def write_record(
    places: Places, pod: Object, sandbox: Sandbox, views: Sequence[ContainerView]
) -> None:
    """Write the record; running containers only, the pod's main ones first."""
    metadata = pod["metadata"]
    ordered = sorted(views, key=lambda view: view.is_init)
    main = [view for view in views if not view.is_init]
    record = {
        "uid": metadata["uid"],
        "node": places.node,
        "netns": sandbox.netns or places.lab.netns(places.node),
        "ready": all(view.running is not None and view.ready for view in main),
        "pids": {view.name: view.running.process.pid for view in ordered if view.running},
        "cgroup": str(places.pod_group(metadata["uid"])),
    }
    path = places.lab.pod_record(metadata.get("namespace") or "default", metadata["name"])
    write_whole(path, json.dumps(record))


def remove_record(places: Places, pod: Object) -> None:
    """Remove the record unless it is of a later pod with the same name."""
    metadata = pod["metadata"]
    path = places.lab.pod_record(metadata.get("namespace") or "default", metadata["name"])
    try:
        if json.loads(path.read_text()).get("uid") == metadata["uid"]:
            path.unlink()
    except (FileNotFoundError, ValueError):
        return
