"""Schemas that many kinds share: metadata, selectors, references, conditions.

(nothing)  ->  OBJECT_META, LABEL_SELECTOR, …
"""

from cairn.apiserver.notation import (
    Schema,
    anything,
    boolean,
    integer,
    list_of,
    map_of,
    moment,
    obj,
    string,
)

TYPE_META: dict[str, Schema] = {
    "apiVersion": string("Group and version of this object's schema, as in apps/v1."),
    "kind": string("What sort of object this is, as in Service."),
}

_OWNER = obj(
    "An object that this one depends on: when the last owner goes, this goes too.",
    title="OwnerReference",
    required=("apiVersion", "kind", "name", "uid"),
    apiVersion=string("Group and version of the owner."),
    kind=string("Kind of the owner."),
    name=string("Name of the owner, in the same namespace or of the cluster."),
    uid=string("UID of the owner."),
    controller=boolean("Whether the owner is the controller in charge."),
    blockOwnerDeletion=boolean("Whether a foreground deletion of the owner waits for this object."),
)

_MANAGED = obj(
    "Which fields one manager has set.",
    title="ManagedFieldsEntry",
    manager=string("Name of the manager."),
    operation=string("Apply or Update."),
    apiVersion=string("Version in which the fields were set."),
    time=moment("When they were last changed."),
    fieldsType=string("FieldsV1."),
    fieldsV1=anything("The fields, as a tree of names."),
    subresource=string("Subresource through which they were set."),
)

OBJECT_META: Schema = obj(
    "Name, namespace, labels and other marks that every object carries.",
    title="ObjectMeta",
    name=string("Name, unique within kind and namespace; it cannot change."),
    generateName=string("Beginning of a name that the server completes when no name is given."),
    namespace=string("Namespace the object lives in; empty for objects of the cluster."),
    uid=string("Identity in space and time, given by the server."),
    resourceVersion=string("Opaque mark of this state of the object, for watches and conflicts."),
    generation=integer("How often the desired state has changed.", bits=64),
    creationTimestamp=moment("When the server made the object."),
    deletionTimestamp=moment("When the object is to be gone; set by a graceful deletion."),
    deletionGracePeriodSeconds=integer("Seconds it may take to end.", bits=64),
    labels=map_of(string(), "Keys and values to select objects by."),
    annotations=map_of(string(), "Keys and values for tools; nothing selects by them."),
    ownerReferences=list_of(_OWNER, "Objects that this one depends on.", merge="uid"),
    finalizers=list_of(string(), "What must be done before the object may go.", unique=True),
    managedFields=list_of(_MANAGED, "Who set which field, for server-side apply."),
    selfLink=string("Not used any more."),
)

SELECTOR_REQUIREMENT = obj(
    "One condition on one label.",
    title="LabelSelectorRequirement",
    required=("key", "operator"),
    key=string("Label the condition is about."),
    operator=string(
        "How the label relates to the values.", enum=("In", "NotIn", "Exists", "DoesNotExist")
    ),
    values=list_of(string(), "Values for In and NotIn; empty for the others."),
)

LABEL_SELECTOR = obj(
    "Chooses objects by their labels; all conditions must hold, and none means all objects.",
    title="LabelSelector",
    matchLabels=map_of(string(), "Labels that must have just these values."),
    matchExpressions=list_of(SELECTOR_REQUIREMENT, "Further conditions."),
)

OBJECT_REFERENCE = obj(
    "Names another object.",
    title="ObjectReference",
    apiVersion=string("Group and version of the object."),
    kind=string("Kind of the object."),
    namespace=string("Namespace of the object."),
    name=string("Name of the object."),
    uid=string("UID of the object."),
    resourceVersion=string("State of the object that is meant."),
    fieldPath=string("Part of the object that is meant, as in spec.containers{web}."),
)

CONDITION = obj(
    "One thing that holds, does not hold, or is not known of the object.",
    title="Condition",
    required=("type", "status"),
    type=string("Name of the condition."),
    status=string("True, False or Unknown."),
    observedGeneration=integer("Generation that was looked at.", bits=64),
    reason=string("One word for machines that says why."),
    message=string("One sentence for people that says why."),
    lastTransitionTime=moment("When the status last changed."),
    lastUpdateTime=moment("When the condition was last written."),
    lastHeartbeatTime=moment("When the condition was last confirmed."),
    lastProbeTime=moment("When the condition was last looked at."),
)
CONDITIONS = list_of(CONDITION, "What holds at present.", merge="type", keys=("type",))
