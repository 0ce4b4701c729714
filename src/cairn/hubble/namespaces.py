"""Namespaces that flows came from or went to within the last hour.

    FlowStore  ->  observer.GetNamespacesResponse, serialised

Standards   Cilium api/v1/observer/observer.proto
"""

from typing import Any

import numpy as np

from cairn.flow.address import Records
from cairn.flow.key_test import Bools
from cairn.flow.store import FlowStore
from cairn.hubble.flow_message import CLUSTER, NANOSECONDS
from cairn.hubble.proto import message

Response: Any = message("observer.GetNamespacesResponse")
HOUR_NS = 3600 * NANOSECONDS


def namespaces(store: FlowStore, now_ns: int) -> bytes:
    """Return the response of GetNamespaces."""
    keys: set[int] = set()

    def look(records: Records) -> Bools:
        recent = records["time_ns"] >= max(0, now_ns - HOUR_NS)
        for column in ("source_end", "destination_end"):
            keys.update(np.unique(records[column][recent]).tolist())
        return np.zeros(len(records), np.bool_)

    store.search(look, since_ns=max(0, now_ns - HOUR_NS))
    ends = store.dictionaries.ends
    names = {end.namespace for key in keys if (end := ends.get(key)) and end.namespace}
    response = Response()
    for name in sorted(names):
        response.namespaces.add(cluster=CLUSTER, namespace=name)
    octets: bytes = response.SerializeToString()
    return octets
