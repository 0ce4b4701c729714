"""Schema of a pod's containers: image, environment, ports, probes, resources, rights.

(nothing)  ->  CONTAINER, CONTAINER_FIELDS, RESOURCES, PROFILE, SELINUX
"""

from typing import Any

from cairn.apiserver.builtin_volume import VOLUME_DEVICE, VOLUME_MOUNT
from cairn.apiserver.notation import (
    anything,
    boolean,
    int_or_string,
    integer,
    list_of,
    map_of,
    obj,
    quantity,
    string,
)

_KEY_REF = obj(
    "One key of an object in the same namespace.",
    required=("key",),
    name=string("Name of the object."),
    key=string("Key whose value is taken."),
    optional=boolean("Whether the container starts without it."),
)
_ENV = obj(
    "One environment variable.",
    title="EnvVar",
    required=("name",),
    name=string("Name of the variable."),
    value=string("Value; $(NAME) stands for another variable."),
    valueFrom=obj(
        "Where the value comes from.",
        title="EnvVarSource",
        fileKeyRef=anything("A key of a file in a volume."),
        configMapKeyRef=_KEY_REF,
        secretKeyRef=_KEY_REF,
        fieldRef=obj(
            "A field of the pod.",
            required=("fieldPath",),
            apiVersion=string("Version the path is of."),
            fieldPath=string("Path, as in metadata.name or status.podIP."),
        ),
        resourceFieldRef=obj(
            "A limit or request of a container.",
            required=("resource",),
            containerName=string("Name of the container."),
            resource=string("As in limits.cpu."),
            divisor=quantity("Unit of the value."),
        ),
    ),
)
_NAME_REF = obj(
    "An object of the same namespace.", name=string("Name of it."), optional=boolean("May lack.")
)
_ENV_FROM = obj(
    "Every key of a ConfigMap or Secret as a variable.",
    title="EnvFromSource",
    prefix=string("Put before each key."),
    configMapRef=_NAME_REF,
    secretRef=_NAME_REF,
)
_PORT = obj(
    "A port that the container listens on.",
    title="ContainerPort",
    required=("containerPort",),
    name=string("Name that Services and probes may use for the number."),
    containerPort=integer("The port's number in the pod.", low=1, high=65535),
    hostPort=integer("Port of the node that leads here.", low=0, high=65535),
    hostIP=string("Address of the node that the host port is bound to."),
    protocol=string("Transport protocol.", enum=("TCP", "UDP", "SCTP"), default="TCP"),
)
_HTTP_GET = obj(
    "An HTTP request to the pod.",
    title="HTTPGetAction",
    required=("port",),
    path=string("Path asked for, / if empty."),
    port=int_or_string("Number or name of the port."),
    host=string("Host to ask in place of the pod's address."),
    scheme=string("HTTP or HTTPS."),
    httpHeaders=list_of(obj(name=string("Header."), value=string("Value.")), "Further headers."),
)
_EXEC = obj(
    "A command run in the container.",
    title="ExecAction",
    command=list_of(string(), "Program and arguments; no shell."),
)
_TCP = obj(
    "A TCP connection to the pod.",
    title="TCPSocketAction",
    required=("port",),
    port=int_or_string("Number or name of the port."),
    host=string("Host in place of the pod's address."),
)
_PROBE = obj(
    "How the kubelet finds out how a container is doing.",
    title="Probe",
    httpGet=_HTTP_GET,
    tcpSocket=_TCP,
    exec=_EXEC,
    grpc=obj("A gRPC health check.", port=integer("Port."), service=string("Service asked for.")),
    initialDelaySeconds=integer("Seconds between the container's start and the first try.", low=0),
    periodSeconds=integer("Seconds between two tries; 10 if not set.", low=0),
    timeoutSeconds=integer("Seconds after which a try has failed; 1 if not set.", low=0),
    successThreshold=integer("Tries that must succeed in a row; 1 if not set.", low=0),
    failureThreshold=integer("Tries that must fail in a row; 3 if not set.", low=0),
    terminationGracePeriodSeconds=integer("Grace when this probe ends the pod.", bits=64),
)
_HANDLER = obj(
    "What is done at a moment of a container's life.",
    title="LifecycleHandler",
    exec=_EXEC,
    httpGet=_HTTP_GET,
    tcpSocket=_TCP,
    sleep=obj("A pause.", seconds=integer("Its length.", bits=64)),
)
RESOURCES = obj(
    "What the container needs, and what it may use at most.",
    title="ResourceRequirements",
    requests=map_of(quantity(), "Amounts the scheduler sets aside, as cpu: 100m."),
    limits=map_of(quantity(), "Amounts that are never exceeded."),
    claims=list_of(anything(), "Claims of devices.", merge=""),
)
PROFILE = obj(
    "A security profile.",
    type=string("RuntimeDefault, Localhost or Unconfined."),
    localhostProfile=string("File of the profile on the node."),
)
SELINUX = obj(
    "SELinux label.",
    user=string("User."),
    role=string("Role."),
    type=string("Type."),
    level=string("Level."),
)
_SECURITY = obj(
    "Rights of one container; goes before the pod's own.",
    title="SecurityContext",
    privileged=boolean("Whether it has every right of the node's root."),
    runAsUser=integer("User id of the process.", bits=64),
    runAsGroup=integer("Group id of the process.", bits=64),
    runAsNonRoot=boolean("Whether user id 0 is refused."),
    readOnlyRootFilesystem=boolean("Whether the image's files cannot be written."),
    allowPrivilegeEscalation=boolean("Whether a process may gain more rights than its parent."),
    capabilities=obj(
        "Linux capabilities.",
        add=list_of(string(), "Given in addition."),
        drop=list_of(string(), "Taken away; ALL for all."),
    ),
    procMount=string("How /proc is mounted."),
    seccompProfile=PROFILE | {"description": "Filter of system calls."},
    seLinuxOptions=SELINUX,
    appArmorProfile=PROFILE | {"description": "AppArmor profile."},
    windowsOptions=anything("For Windows nodes."),
)
CONTAINER_FIELDS: dict[str, Any] = {
    "name": string("Name, unique in the pod."),
    "image": string("Image the container is made of."),
    "imagePullPolicy": string(
        "When the image is fetched.", enum=("Always", "IfNotPresent", "Never")
    ),
    "command": list_of(string(), "Program and arguments in place of the image's own."),
    "args": list_of(string(), "Arguments for the image's program or for `command`."),
    "workingDir": string("Folder the program starts in."),
    "ports": list_of(
        _PORT,
        "Ports the container listens on; to leave one out closes nothing.",
        merge="containerPort",
        keys=("containerPort", "protocol"),
    ),
    "env": list_of(_ENV, "Environment variables.", merge="name"),
    "envFrom": list_of(_ENV_FROM, "Whole ConfigMaps or Secrets as variables."),
    "resources": RESOURCES,
    "volumeMounts": list_of(VOLUME_MOUNT, "Where volumes appear.", merge="mountPath"),
    "volumeDevices": list_of(VOLUME_DEVICE, "Raw devices.", merge="devicePath"),
    "livenessProbe": _PROBE | {"description": "Restarts the container when it fails."},
    "readinessProbe": _PROBE | {"description": "Takes the pod out of its Services when it fails."},
    "startupProbe": _PROBE | {"description": "Holds back the other probes until it succeeds."},
    "lifecycle": obj(
        "What is done after the start and before the end.",
        title="Lifecycle",
        postStart=_HANDLER,
        preStop=_HANDLER,
        stopSignal=string("Signal that asks the container to end."),
    ),
    "securityContext": _SECURITY,
    "terminationMessagePath": string("File whose text is kept when the container ends."),
    "terminationMessagePolicy": string(
        "Where the last message comes from.", enum=("File", "FallbackToLogsOnError")
    ),
    "restartPolicy": string("Always makes an init container a sidecar."),
    "restartPolicyRules": list_of(anything(), "Exceptions by exit code."),
    "resizePolicy": list_of(anything(), "How a change of resources is made."),
    "stdin": boolean("Whether the container has a standard input."),
    "stdinOnce": boolean("Whether standard input closes after the first client."),
    "tty": boolean("Whether the container has a terminal."),
}
CONTAINER = obj(
    "One container of the pod.", title="Container", required=("name",), **CONTAINER_FIELDS
)
