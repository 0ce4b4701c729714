"""A client that knows Hubble's API from its .proto files alone; a program of its own.

    folder of generated classes, address  ->  one JSON line: nodes, and flows that were dropped

Run as `python any_client.py FOLDER ADDRESS`: it loads nothing of Cairn.
"""

import importlib
import json
import sys
from typing import Any


def main(folder: str, address: str) -> None:
    sys.path.insert(0, folder)
    grpc: Any = importlib.import_module("grpc")
    flow: Any = importlib.import_module("flow.flow_pb2")
    observer: Any = importlib.import_module("observer.observer_pb2")
    services: Any = importlib.import_module("observer.observer_pb2_grpc")
    assert not [name for name in sys.modules if name.startswith("cairn")]
    with grpc.insecure_channel(address) as channel:
        stub = services.ObserverStub(channel)
        asked = flow.FlowFilter(
            source_pod=["production/web-app"],
            destination_pod=["production/database"],
            verdict=[flow.DROPPED],
        )
        request = observer.GetFlowsRequest(number=10, whitelist=[asked])
        answers = [one.flow for one in stub.GetFlows(request, timeout=10) if one.HasField("flow")]
        found = {
            "nodes": [node.name for node in stub.GetNodes(observer.GetNodesRequest()).nodes],
            "status": stub.ServerStatus(observer.ServerStatusRequest()).num_connected_nodes.value,
            "denied_by": sorted({p.name for one in answers for p in one.ingress_denied_by}),
            "reasons": sorted({flow.DropReason.Name(one.drop_reason_desc) for one in answers}),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
