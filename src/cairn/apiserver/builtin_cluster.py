"""Schemas of nodes, namespaces, configuration, events, leases and rights; and their rules.

(nothing)  ->  NODE, NAMESPACE, CONFIG_MAP, SECRET, SERVICE_ACCOUNT, EVENT, LEASE, ROLE, …
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from cairn.apiserver.builtin_meta import CONDITIONS, LABEL_SELECTOR, OBJECT_REFERENCE
from cairn.apiserver.kind import Context, FieldError, Json, Reason
from cairn.apiserver.notation import (
    anything,
    boolean,
    integer,
    list_of,
    map_of,
    moment,
    obj,
    quantity,
    string,
)

_TAINT = obj(
    "Keeps pods away that do not bear it.",
    title="Taint",
    required=("key", "effect"),
    key=string("Key of the taint."),
    value=string("Value of the taint."),
    effect=string("What it does.", enum=("NoSchedule", "PreferNoSchedule", "NoExecute")),
    timeAdded=moment("When it was set."),
)
_DAEMON_PORT = obj("A daemon's port.", Port=integer("The number."))
NODE = obj(
    "A machine that runs pods.",
    spec=obj(
        "How the node is to be used.",
        title="NodeSpec",
        podCIDR=string("Network of the node's pods."),
        podCIDRs=list_of(string(), "Networks of the node's pods, one per family.", unique=True),
        providerID=string("Name of the machine at whoever provides it."),
        unschedulable=boolean("Whether new pods stay away."),
        taints=list_of(_TAINT, "What keeps pods away."),
        externalID=string("Not used any more."),
        configSource=anything("Not used any more."),
    ),
    status=obj(
        "What is known of the node.",
        title="NodeStatus",
        addresses=list_of(
            obj(
                "One address.",
                title="NodeAddress",
                required=("type", "address"),
                type=string("InternalIP, ExternalIP or Hostname."),
                address=string("The address."),
            ),
            "Addresses of the node.",
            merge="type",
        ),
        capacity=map_of(quantity(), "What the machine has."),
        allocatable=map_of(quantity(), "What of it pods may use."),
        conditions=CONDITIONS,
        phase=string("Not used any more."),
        nodeInfo=anything("Versions of kernel, system and kubelet."),
        daemonEndpoints=obj("Ports of daemons.", kubeletEndpoint=_DAEMON_PORT),
        images=list_of(anything(), "Images the node has."),
        volumesInUse=list_of(string(), "Volumes in use."),
        volumesAttached=list_of(anything(), "Volumes attached."),
        config=anything("Not used any more."),
        runtimeHandlers=list_of(anything(), "Container runtimes."),
        features=anything("What the node can do."),
        declaredFeatures=list_of(string(), "What the node says it can do."),
    ),
)
NAMESPACE = obj(
    "A space of names for objects.",
    spec=obj(
        "What must happen before it may go.",
        title="NamespaceSpec",
        finalizers=list_of(string(), "Who has work to do before the namespace goes."),
    ),
    status=obj(
        "Where it stands.",
        title="NamespaceStatus",
        phase=string("Active or Terminating."),
        conditions=CONDITIONS,
    ),
)
CONFIG_MAP = obj(
    "Settings for pods, as keys and texts.",
    data=map_of(string(), "Keys and texts."),
    binaryData=map_of(string(format="byte"), "Keys and octets, in base64."),
    immutable=boolean("Whether the data can never change again."),
)
SECRET = obj(
    "Settings for pods that not everyone should read.",
    data=map_of(string(format="byte"), "Keys and octets, in base64."),
    stringData=map_of(string(), "Keys and texts; the server moves them to data."),
    type=string("What sort of secret it is.", default="Opaque"),
    immutable=boolean("Whether the data can never change again."),
)
SERVICE_ACCOUNT = obj(
    "Who pods are at the API server.",
    secrets=list_of(OBJECT_REFERENCE, "Secrets its pods may use.", merge="name"),
    imagePullSecrets=list_of(obj(name=string("Name of a Secret.")), "Secrets for fetching images."),
    automountServiceAccountToken=boolean("Whether pods get the account's token."),
)
EVENT = obj(
    "Something that happened to an object; kept for an hour.",
    involvedObject=OBJECT_REFERENCE,
    related=OBJECT_REFERENCE,
    reason=string("Why, in one word."),
    message=string("What happened, for people."),
    type=string("Normal or Warning."),
    source=obj("Who saw it.", component=string("Part of the system."), host=string("Node.")),
    firstTimestamp=moment("When it happened first."),
    lastTimestamp=moment("When it happened last."),
    count=integer("How often it happened."),
    eventTime=moment("When it happened."),
    series=obj(
        "A run of equal events.",
        count=integer("How often."),
        lastObservedTime=moment("When last."),
    ),
    action=string("What was done about it."),
    reportingComponent=string("Controller that wrote it."),
    reportingInstance=string("Instance of the controller."),
)
LEASE = obj(
    "Who holds a part, and until when.",
    spec=obj(
        "The lease.",
        title="LeaseSpec",
        holderIdentity=string("Who holds it."),
        leaseDurationSeconds=integer("Seconds without renewal until it is free.", low=1),
        acquireTime=moment("When it was taken."),
        renewTime=moment("When it was last renewed."),
        leaseTransitions=integer("How often the holder has changed."),
        strategy=string("How the holder is chosen."),
        preferredHolder=string("Who should hold it."),
    ),
)
_RULE = obj(
    "Rights to some kinds of objects.",
    title="PolicyRule",
    required=("verbs",),
    verbs=list_of(string(), "What may be done, as get, list, watch; * for all."),
    apiGroups=list_of(string(), "API groups; empty text for the core."),
    resources=list_of(string(), "Kinds, in the plural."),
    resourceNames=list_of(string(), "Only these objects; all if empty."),
    nonResourceURLs=list_of(string(), "Paths that are not objects."),
)
ROLE = obj("A set of rights.", rules=list_of(_RULE, "The rights."))
CLUSTER_ROLE = obj(
    "A set of rights in the whole cluster.",
    rules=list_of(_RULE, "The rights."),
    aggregationRule=obj(
        "Other roles that are part of this one.",
        clusterRoleSelectors=list_of(LABEL_SELECTOR, "Labels of those roles."),
    ),
)
ROLE_BINDING = obj(
    "Who has the rights of a role.",
    required=("roleRef",),
    subjects=list_of(
        obj(
            "A user, a group or an account.",
            title="Subject",
            required=("kind", "name"),
            kind=string("User, Group or ServiceAccount."),
            apiGroup=string("API group of the kind."),
            name=string("Name."),
            namespace=string("Namespace of an account."),
        ),
        "Who has the rights.",
    ),
    roleRef=obj(
        "The role; it cannot change.",
        title="RoleRef",
        required=("kind", "name"),
        apiGroup=string("rbac.authorization.k8s.io."),
        kind=string("Role or ClusterRole."),
        name=string("Name of the role."),
    ),
)
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}\Z")


def complete_namespace(obj: Json, context: Context) -> None:
    """Give a namespace the label of its own name, by which selectors find it."""
    metadata = obj["metadata"]
    if metadata.get("name"):
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]


def complete_secret(obj: Json, context: Context) -> None:
    """Move a Secret's texts to its data."""
    texts = obj.pop("stringData", None)
    if isinstance(texts, dict):
        data = obj.setdefault("data", {})
        for key, text in texts.items():
            data[key] = base64.b64encode(str(text).encode()).decode()


def complete_event(obj: Json, context: Context) -> None:
    """Put an event into the words that kubectl sorts and shows by."""
    obj.setdefault("type", "Normal")
    if not obj.get("source") and obj.get("reportingComponent"):
        obj["source"] = {"component": obj["reportingComponent"]}


def data_errors(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[FieldError]:
    """Return what is wrong with the keys and values of a ConfigMap or a Secret."""
    errors: list[FieldError] = []
    octets = ("binaryData",) if new.get("kind") == "ConfigMap" else ("data",)
    for group in ("data", "binaryData"):
        for key, value in (new.get(group) or {}).items():
            path = f"{group}[{key}]"
            if not _DATA_KEY.match(key):
                text = f'Invalid value: "{key}": must consist of letters, digits, "-", "_" or "."'
                errors.append(FieldError(path, Reason.INVALID, text))
            if group in octets and not _is_base64(value):
                text = "Invalid value: must be base64"
                errors.append(FieldError(path, Reason.INVALID, text))
    if old is not None and old.get("immutable"):
        for group in ("data", "binaryData", "immutable"):
            if new.get(group) != old.get(group):
                text = "Forbidden: field is immutable when `immutable` is set"
                errors.append(FieldError(group, Reason.FORBIDDEN, text))
    if old is not None and new.get("kind") == "Secret" and new.get("type") != old.get("type"):
        text = f'Invalid value: "{new.get("type")}": field is immutable'
        errors.append(FieldError("type", Reason.INVALID, text))
    return errors


def _is_base64(value: Any) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError, TypeError):
        return False
    return True


def role_binding_errors(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[FieldError]:
    """Return an error if a binding's role changes."""
    if old is not None and new.get("roleRef") != old.get("roleRef"):
        text = "Invalid value: cannot change roleRef"
        return [FieldError("roleRef", Reason.INVALID, text)]
    return []
