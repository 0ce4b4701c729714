"""Findings of area 5: Services, endpoints, pods, applications.

nothing  ->  rows of the registry
"""

from cairn.diagnose.finding import Kind, Weight

SERVICES = (
    Kind(
        "CRN-501",
        "NoPodMatches",
        "Service selects no pod",
        Weight.ERROR,
        "no pod in {namespace} has the labels {selector} that {subject} selects",
        "kubectl -n {namespace} get pods --show-labels",
        "The Service has no pod at all behind it.",
    ),
    Kind(
        "CRN-502",
        "NoReadyPod",
        "Service has no ready pod",
        Weight.ERROR,
        "none of the {count} pods of {subject} is ready: {reason}",
        "kubectl -n {namespace} describe pod {pod}",
        "The Service has pods, and none takes connections. No node announces its address.",
    ),
    Kind(
        "CRN-503",
        "WrongTargetPort",
        "targetPort that no container listens at",
        Weight.ERROR,
        "{subject} sends to port {port} of its pods, where nobody listens: {reason}",
        "kubectl -n {namespace} edit service {service} (targetPort: {right})",
        "Connections reach a pod at a port where nobody listens, and are refused.",
    ),
    Kind(
        "CRN-504",
        "BackendDead",
        "pod does not serve",
        Weight.ERROR,
        "{pod} of {subject} does not serve at {where}: {reason}",
        "kubectl -n {namespace} logs {name} --tail=20",
        "A pod is ready and does not answer. Nobody is sent there.",
    ),
    Kind(
        "CRN-505",
        "CrashLoop",
        "container ends again and again",
        Weight.ERROR,
        ("container {container} of {subject} ends again and again ({restarts} restarts): {reason}"),
        "kubectl -n {namespace} logs {pod} -c {container} --previous",
        "A container ends soon after its start, again and again.",
    ),
    Kind(
        "CRN-506",
        "PodWithoutNetwork",
        "pod has no network",
        Weight.ERROR,
        "{subject} on {node} has no address: {reason}",
        "kubectl -n {namespace} describe pod {pod}",
        "The pod has no address.",
    ),
    Kind(
        "CRN-507",
        "ImageMissing",
        "image cannot be had",
        Weight.ERROR,
        "container {container} of {subject} does not start: {reason}",
        "kubectl -n {namespace} describe pod {pod}",
        "A container does not start since its image cannot be had.",
    ),
    Kind(
        "CRN-508",
        "Unschedulable",
        "pod finds no node",
        Weight.ERROR,
        "{subject} waits for a node: {reason}",
        "kubectl -n {namespace} describe pod {pod}",
        "No node takes the pod.",
    ),
    Kind(
        "CRN-509",
        "PodNotReady",
        "pod is not ready",
        Weight.WARNING,
        "{subject} runs and is not ready: {reason}",
        "kubectl -n {namespace} describe pod {pod}",
        "The pod runs and does not pass its readiness probe; Services do not send to it.",
    ),
    Kind(
        "CRN-511",
        "PortNameUnknown",
        "named port that no container has",
        Weight.ERROR,
        "{subject} sends to the port named {port}, and no container of {pods} has it",
        "kubectl -n {namespace} edit service {service} (targetPort)",
        "The Service sends to a port by a name that no container has.",
    ),
)
