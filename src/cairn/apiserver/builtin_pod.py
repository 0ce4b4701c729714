"""Schema of pods, and of the pod templates that workloads carry.

    (nothing)  ->  POD, POD_TEMPLATE

Not here    Containers (builtin_container), volumes (builtin_volume), defaults across fields and
            immutability (builtin_pod_rules).
"""

from cairn.apiserver.builtin_container import (
    CONTAINER,
    CONTAINER_FIELDS,
    PROFILE,
    RESOURCES,
    SELINUX,
)
from cairn.apiserver.builtin_meta import CONDITIONS, LABEL_SELECTOR, OBJECT_META
from cairn.apiserver.builtin_volume import VOLUME
from cairn.apiserver.notation import (
    any_value,
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

_TOLERATION = obj(
    "A taint that the pod bears.",
    title="Toleration",
    key=string("Key of the taint; empty for every taint."),
    operator=string("Exists, or Equal (then the values must agree)."),
    value=string("Value of the taint."),
    effect=string("NoSchedule, PreferNoSchedule, NoExecute; empty for all."),
    tolerationSeconds=integer("Seconds until a NoExecute taint evicts after all.", bits=64),
)
_SPREAD = obj(
    "How evenly pods lie over a part of the cluster.",
    title="TopologySpreadConstraint",
    required=("maxSkew", "topologyKey", "whenUnsatisfiable"),
    maxSkew=integer("How much two parts may differ."),
    topologyKey=string("Node label that names the part."),
    whenUnsatisfiable=string("DoNotSchedule or ScheduleAnyway."),
    labelSelector=LABEL_SELECTOR,
    matchLabelKeys=list_of(string()),
    minDomains=integer(),
    nodeAffinityPolicy=string(),
    nodeTaintsPolicy=string(),
)
_PREFERRED = list_of(anything("A wish and its weight."), "Wishes.")
_NODE_TERMS = list_of(anything("Conditions that hold together."), "One of these must hold.")
_POD_TERMS = obj(
    "Nearness to other pods.",
    title="PodAffinity",
    requiredDuringSchedulingIgnoredDuringExecution=list_of(anything(), "What must hold."),
    preferredDuringSchedulingIgnoredDuringExecution=_PREFERRED,
)
_AFFINITY = obj(
    "Which nodes and neighbours the pod wants or shuns.",
    title="Affinity",
    nodeAffinity=obj(
        "Which nodes.",
        title="NodeAffinity",
        requiredDuringSchedulingIgnoredDuringExecution=obj(
            "What must hold.", required=("nodeSelectorTerms",), nodeSelectorTerms=_NODE_TERMS
        ),
        preferredDuringSchedulingIgnoredDuringExecution=_PREFERRED,
    ),
    podAffinity=_POD_TERMS,
    podAntiAffinity=_POD_TERMS | {"description": "Distance from other pods."},
)
_POD_SECURITY = obj(
    "Rights of all containers of the pod.",
    title="PodSecurityContext",
    runAsUser=integer("User id of the processes.", bits=64),
    runAsGroup=integer("Group id of the processes.", bits=64),
    runAsNonRoot=boolean("Whether user id 0 is refused."),
    fsGroup=integer("Group that volumes belong to.", bits=64),
    fsGroupChangePolicy=string("When volumes are given to the group."),
    supplementalGroups=list_of(integer(bits=64), "Further groups."),
    seLinuxChangePolicy=string("How volumes get their SELinux label."),
    supplementalGroupsPolicy=string("Whether groups of the image count too."),
    sysctls=list_of(obj(name=string("Name."), value=string("Value.")), "Kernel settings."),
    seccompProfile=PROFILE | {"description": "Filter of system calls."},
    seLinuxOptions=SELINUX,
    appArmorProfile=PROFILE | {"description": "AppArmor profile."},
    windowsOptions=anything("For Windows nodes."),
)
_POD_SPEC = obj(
    "What the pod is to run, and where.",
    title="PodSpec",
    required=("containers",),
    containers=list_of(
        CONTAINER, "Containers that run side by side.", merge="name", keys=("name",)
    ),
    initContainers=list_of(
        CONTAINER,
        "Containers that run to their end before, one by one.",
        merge="name",
        keys=("name",),
    ),
    ephemeralContainers=list_of(
        obj("A container added for debugging.", required=("name",), **CONTAINER_FIELDS)
        | {"x-kubernetes-preserve-unknown-fields": True},
        "Containers added for debugging.",
        merge="name",
        keys=("name",),
    ),
    volumes=list_of(
        VOLUME, "Volumes that containers mount.", merge="name", keys=("name",), retain_keys=True
    ),
    restartPolicy=string(
        "Whether ended containers start again.", enum=("Always", "OnFailure", "Never")
    ),
    terminationGracePeriodSeconds=integer("Seconds a pod has to end.", bits=64, low=0),
    activeDeadlineSeconds=integer("Seconds after which the pod fails.", bits=64, low=1),
    dnsPolicy=string(
        "Whose name servers the pod asks.",
        enum=("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
    ),
    dnsConfig=obj(
        "Added to what dnsPolicy gives.",
        title="PodDNSConfig",
        nameservers=list_of(string(), "Addresses of name servers."),
        searches=list_of(string(), "Domains to search."),
        options=list_of(obj(name=string("Name."), value=string("Value.")), "Resolver options."),
    ),
    nodeName=string("Node the pod runs on; set by the scheduler."),
    nodeSelector=map_of(string(), "Labels the node must have."),
    affinity=_AFFINITY,
    tolerations=list_of(_TOLERATION, "Taints that the pod bears."),
    topologySpreadConstraints=list_of(
        _SPREAD, "How pods lie over the cluster.", merge="topologyKey"
    ),
    schedulerName=string("Which scheduler places the pod."),
    schedulingGates=list_of(
        obj(required=("name",), name=string("Name of the gate.")),
        "What must happen before the pod is placed.",
        merge="name",
        keys=("name",),
    ),
    serviceAccountName=string("Account whose rights the pod has at the API server."),
    serviceAccount=string("Old name of serviceAccountName."),
    automountServiceAccountToken=boolean("Whether the account's token is mounted."),
    hostNetwork=boolean("Whether the pod uses the node's own network."),
    hostPID=boolean("Whether the pod sees the node's processes."),
    hostIPC=boolean("Whether the pod shares the node's IPC."),
    hostUsers=boolean("Whether the pod shares the node's users."),
    shareProcessNamespace=boolean("Whether its containers see each other's processes."),
    hostname=string("Host name of the pod; its own name if not set."),
    hostnameOverride=string("Host name whatever else is set."),
    subdomain=string("Domain of the pod below its namespace."),
    setHostnameAsFQDN=boolean("Whether the host name is the full name."),
    hostAliases=list_of(
        obj(
            "One line of /etc/hosts.",
            title="HostAlias",
            required=("ip",),
            ip=string("Address."),
            hostnames=list_of(string(), "Names of the address."),
        ),
        "Lines added to /etc/hosts.",
        merge="ip",
        keys=("ip",),
    ),
    imagePullSecrets=list_of(
        obj(name=string("Name of a Secret.")), "Secrets for fetching images.", merge="name"
    ),
    enableServiceLinks=boolean("Whether Services appear as environment variables."),
    priority=integer("Rank of the pod."),
    priorityClassName=string("Name of the rank."),
    preemptionPolicy=string("Whether the pod may push out others."),
    runtimeClassName=string("Container runtime."),
    readinessGates=list_of(
        obj(required=("conditionType",), conditionType=string("Condition of the pod.")),
        "Further conditions for being ready.",
    ),
    overhead=map_of(quantity(), "Resources the runtime itself needs."),
    os=obj(
        "Operating system the pod is made for.",
        required=("name",),
        name=string("linux or windows."),
    ),
    securityContext=_POD_SECURITY,
    resources=RESOURCES,
    resourceClaims=list_of(anything(), "Claims of devices."),
)
_IP = obj("One address.", required=("ip",), ip=string("The address."))
_CONTAINER_STATUS = list_of(anything(), "State of each container.")
_POD_STATUS = obj(
    "What is known of the pod.",
    title="PodStatus",
    phase=string("Pending, Running, Succeeded, Failed or Unknown."),
    conditions=CONDITIONS,
    message=string("Why the pod is in this state, for people."),
    reason=string("Why the pod is in this state, in one word."),
    hostIP=string("Address of the node."),
    hostIPs=list_of(_IP, "Addresses of the node.", merge="ip"),
    podIP=string("Address of the pod."),
    podIPs=list_of(_IP, "Addresses of the pod, one per family.", merge="ip", keys=("ip",)),
    startTime=moment("When the kubelet took the pod up."),
    qosClass=string("Guaranteed, Burstable or BestEffort."),
    nominatedNodeName=string("Node on which room is being made."),
    containerStatuses=_CONTAINER_STATUS,
    initContainerStatuses=_CONTAINER_STATUS,
    ephemeralContainerStatuses=_CONTAINER_STATUS,
    observedGeneration=integer("Generation the status is of.", bits=64),
    resources=RESOURCES,
    allocatedResources=map_of(quantity(), "Resources set aside."),
    resize=string("State of a change of resources."),
    resourceClaimStatuses=any_value("State of claims."),
)
POD = obj(
    "A group of containers on one node that share one network address.",
    spec=_POD_SPEC,
    status=_POD_STATUS,
)
POD_TEMPLATE = obj(
    "The pods that a workload makes.",
    title="PodTemplateSpec",
    metadata=OBJECT_META,
    spec=_POD_SPEC,
)
