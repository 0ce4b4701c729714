"""The table of path attributes.

code  ->  AttributeKind
"""

from cairn.bgp.attribute import (
    aggregator,
    as4,
    as_path,
    atomic_aggregate,
    cluster_list,
    communities,
    extended_communities,
    large_communities,
    local_pref,
    med,
    mp_reach,
    mp_unreach,
    next_hop,
    origin,
    originator_id,
)

ALL = (
    origin.KIND,
    as_path.KIND,
    next_hop.KIND,
    med.KIND,
    local_pref.KIND,
    atomic_aggregate.KIND,
    aggregator.KIND,
    communities.KIND,
    originator_id.KIND,
    cluster_list.KIND,
    mp_reach.KIND,
    mp_unreach.KIND,
    extended_communities.KIND,
    as4.AS4_PATH,
    as4.AS4_AGGREGATOR,
    large_communities.KIND,
)
BY_CODE = {kind.code: kind for kind in ALL}
