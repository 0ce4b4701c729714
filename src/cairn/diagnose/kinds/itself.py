"""Findings of area 9: Cairn itself.

nothing  ->  rows of the registry
"""

from cairn.diagnose.finding import Kind, Weight
from cairn.diagnose.kinds.written import written

ITSELF = (
    Kind(
        "CRN-901",
        "AgentDown",
        "agent does not run",
        Weight.ERROR,
        "the agent of {node} does not run: {reason}",
        "kubectl -n kube-system logs {pod} -c agent --tail=20 --previous",
        (
            "The node goes on forwarding what it knew; new pods are not wired, and changes do "
            "not arrive."
        ),
    ),
    Kind(
        "CRN-902",
        "AgentSilent",
        "agent runs and does not answer",
        Weight.ERROR,
        "the agent of {node} runs and does not answer on its socket: {reason}",
        "kubectl -n kube-system delete pod {pod}",
        "The agent's process is there and does not answer.",
    ),
    Kind(
        "CRN-903",
        "AgentMissing",
        "node without an agent",
        Weight.ERROR,
        "no agent is to run on {node}: {reason}",
        "kubectl -n kube-system describe daemonset cairn",
        "A node has no agent: no pod there gets a network.",
    ),
    Kind(
        "CRN-904",
        "NotReconciling",
        "agent does not reconcile",
        Weight.ERROR,
        "the agent of {node} does not reach the desired state: {reason}",
        "kubectl -n kube-system logs {pod} -c agent --tail=20",
        "The agent cannot make the node as it should be.",
    ),
    Kind(
        "CRN-905",
        "ApiPartition",
        "agent does not hear the API server",
        Weight.ERROR,
        "the agent of {node} has heard nothing from the API server for {age}: {reason}",
        "cairn lab exec {node} -- ping -c 3 {api}",
        ("The agent does not hear the API server. It keeps what it knew; changes do not arrive."),
    ),
    Kind(
        "CRN-906",
        "NodeUnasked",
        "node could not be asked",
        Weight.ERROR,
        "{node} could not be asked: {reason}",
        "kubectl -n kube-system get pods -l k8s-app=cairn -o wide",
        "What is going on at a node is not known from here.",
    ),
    Kind(
        "CRN-907",
        "VersionSkew",
        "parts of Cairn have different versions",
        Weight.WARNING,
        "{parts} run {version}, others {others}",
        "kubectl -n kube-system rollout restart daemonset/cairn deployment/cairn-operator",
        "Nodes run different versions of Cairn.",
    ),
    Kind(
        "CRN-908",
        "OperatorDown",
        "operator does not run",
        Weight.ERROR,
        "no operator runs: {reason}",
        "kubectl -n kube-system get pods -l k8s-app=cairn-operator",
        "No new Service gets an address, and the status of policies is not kept.",
    ),
    Kind(
        "CRN-909",
        "EventsLost",
        "flow events are lost",
        Weight.WARNING,
        "{node} lost {count} events in {window}",
        (
            "kubectl -n kube-system set env ds/cairn CAIRN_MAP_SIZES=events=8388608 (octets of "
            "the ring, a power of two; 4194304 if nothing was set)"
        ),
        "Flows were lost between kernel and agent; they are counted, not shown.",
    ),
    Kind(
        "CRN-911",
        "DiskFull",
        "disk is full",
        Weight.ERROR,
        "{path} of {node} has {free} of {total} MB left",
        "df -h {path} (on {node}; then remove what fills it)",
        "Nothing can be written: records of pods, history, logs.",
    ),
    Kind(
        "CRN-912",
        "DiskNearlyFull",
        "disk is nearly full",
        Weight.WARNING,
        "{path} of {node} has {free} of {total} MB left",
        "df -h {path} (on {node}; then remove what fills it)",
        "Less than a tenth of a file system is left.",
    ),
    Kind(
        "CRN-913",
        "ContainerDown",
        "container of Cairn does not run",
        Weight.ERROR,
        "container {container} of {pod} on {node} does not run: {reason}",
        "kubectl -n kube-system logs {pod} -c {container} --previous --tail=20",
        "A container of the agent's pod does not run; the others go on.",
    ),
    written(
        "CRN-915",
        "SettingsNotRead",
        "setting that Cairn does not read",
        Weight.NOTE,
        "A ConfigMap of another system holds settings that Cairn does not read.",
    ),
    Kind(
        "CRN-910",
        "HistoryStopped",
        "history of flows is not written",
        Weight.WARNING,
        "the relay writes no history: {reason}",
        (
            "kubectl -n kube-system logs {pod} --tail=20 (it goes on by itself once it can: "
            "mostly the disk is full)"
        ),
        "Flows are seen, and nothing of them is kept for later.",
    ),
    Kind(
        "CRN-914",
        "RelayDown",
        "relay does not run",
        Weight.WARNING,
        "the relay does not answer: {reason}",
        "kubectl -n kube-system get pods -l k8s-app=hubble-relay -o wide",
        (
            "`cairn flows` and `cairn hubble` have no answer; nodes go on seeing flows, and keep "
            "the latest."
        ),
    ),
    Kind(
        "CRN-918",
        "HistoryBehind",
        "flows are missing in the history",
        Weight.WARNING,
        "the history lacks {count} flows that the relay could not write since it started",
        "cairn flows --status",
        "What was asked of the history may lack flows of that time.",
    ),
    Kind(
        "CRN-919",
        "HistoryDamaged",
        "files of the history were moved aside",
        Weight.WARNING,
        "{count} files of the history could not be read and were moved aside: {reason}",
        "cairn flows --status",
        "Flows in these files are not in answers any more; all others are.",
    ),
    Kind(
        "CRN-916",
        "AgentRestarts",
        "container of Cairn restarts again and again",
        Weight.NOTE,
        (
            "container {container} of {pod} on {node} was restarted {restarts} times, last {ago} "
            "ago: {reason}"
        ),
        "kubectl -n kube-system logs {pod} -c {container} --previous --tail=20",
        "It runs now; something ends it from time to time.",
    ),
    Kind(
        "CRN-917",
        "RouterUnasked",
        "router could not be asked",
        Weight.NOTE,
        "the router cannot be asked: {reason}",
        "cairn doctor --router http://ROUTER:PORT (where a cairn router answers)",
        "What the router knows is not compared with what the nodes announce.",
    ),
)
