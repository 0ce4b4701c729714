"""Schemas of a pod's volumes and of where containers see them.

(nothing)  ->  VOLUME, VOLUME_MOUNT, VOLUME_DEVICE
"""

from typing import Any

from cairn.apiserver.notation import (
    anything,
    boolean,
    integer,
    list_of,
    obj,
    quantity,
    string,
)

_ITEMS = list_of(
    obj(
        "One key as one file.",
        title="KeyToPath",
        required=("key", "path"),
        key=string("The key."),
        path=string("The file below the mount."),
        mode=integer("Rights of the file."),
    ),
    "Only these keys; all if not set.",
)
_OPTIONAL = boolean("Whether the pod starts without it.")
_MODE = integer("Rights of the files.")

# Volumes that real manifests carry and that nothing here interprets.
_FOREIGN = (
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "ephemeral", "fc",
    "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "image", "iscsi", "nfs",
    "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos",
    "vsphereVolume",
)  # fmt: skip
_FOREIGN_FIELDS: dict[str, Any] = {name: anything("Storage from outside.") for name in _FOREIGN}

_CONFIG_MAP = obj(
    "The keys of a ConfigMap as files.",
    title="ConfigMapVolumeSource",
    name=string("Name of the ConfigMap."),
    items=_ITEMS,
    defaultMode=_MODE,
    optional=_OPTIONAL,
)
_PROJECTED = obj(
    "Several sources in one folder.",
    title="ProjectedVolumeSource",
    sources=list_of(anything("One source."), "The sources."),
    defaultMode=_MODE,
)

VOLUME = obj(
    "A folder that the pod's containers can share.",
    title="Volume",
    required=("name",),
    name=string("Name, unique in the pod."),
    emptyDir=obj(
        "An empty folder that lives as long as the pod.",
        title="EmptyDirVolumeSource",
        medium=string("Memory for a folder in memory."),
        sizeLimit=quantity("How much it may hold."),
    ),
    hostPath=obj(
        "A file or folder of the node.",
        title="HostPathVolumeSource",
        required=("path",),
        path=string("Path on the node."),
        type=string("What must be there, as Directory or FileOrCreate; empty for anything."),
    ),
    configMap=_CONFIG_MAP,
    secret=obj(
        "The keys of a Secret as files.",
        title="SecretVolumeSource",
        secretName=string("Name of the Secret."),
        items=_ITEMS,
        defaultMode=_MODE,
        optional=_OPTIONAL,
    ),
    downwardAPI=anything("Facts about the pod as files."),
    projected=_PROJECTED,
    persistentVolumeClaim=obj(
        "A claim of lasting storage.",
        required=("claimName",),
        claimName=string("Name of the claim."),
        readOnly=boolean("Whether it cannot be written."),
    ),
    **_FOREIGN_FIELDS,
)

VOLUME_MOUNT = obj(
    "Where a container sees a volume.",
    title="VolumeMount",
    required=("name", "mountPath"),
    name=string("Name of the volume."),
    mountPath=string("Path in the container."),
    subPath=string("Part of the volume that is mounted."),
    subPathExpr=string("The same, with variables."),
    readOnly=boolean("Whether it cannot be written."),
    recursiveReadOnly=string("Whether mounts below are read-only too."),
    mountPropagation=string("Whether mounts below are passed on."),
)

VOLUME_DEVICE = obj(
    "Where a container sees a raw device.",
    required=("name", "devicePath"),
    name=string("Name of the claim."),
    devicePath=string("Path in the container."),
)
