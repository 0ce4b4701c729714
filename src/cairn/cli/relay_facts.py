"""How the relay's history fares: by figures that its node read, and in its own words if it ails.

    the relay's pods, reports of nodes  ->  RelayFact

Cost        nothing while all is well; else a command in the relay's container, 0.6 s
Invariants  Who does not answer is told of in the fact, and costs no more than PATIENCE_S.
"""

import asyncio
from collections.abc import Iterable

import msgspec

from cairn.diagnose.facts import NodeReport
from cairn.diagnose.process_facts import RelayFact
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.pod_exec import exec_in_pod
from cairn.kube.metadata import Object, key_of
from cairn.relay.history.state import HistoryStatus

PATIENCE_S = 4.0
CONTAINER, HERE = "relay", "localhost:4245"
NONE = "there is no pod with the label k8s-app=hubble-relay"
NOT_KEPT = "keeps no history"
AILS = ("missed_flows_total", "corrupt_files_total")
"""Figures that are 0 while all is well."""


class _Answer(msgspec.Struct):
    """As much of an answer of `cairn flows` as is needed."""

    failed: str = ""
    status: HistoryStatus | None = None


async def ask_relay(
    client: Client, pods: Iterable[Object], reports: Iterable[NodeReport]
) -> RelayFact:
    """Return how the history of the first relay that runs fares."""
    listed = list(pods)
    running = [pod for pod in listed if (pod.get("status") or {}).get("phase") == "Running"]
    if not running:
        return RelayFact(skipped=NONE) if not listed else RelayFact(error="its pod does not run")
    key = key_of(running[0])
    page = next((report for report in reports if "relay" in report.versions), None)
    figures = page.history if page else {}
    writes = figures.get("writing", 0) > 0
    if page and (not figures or (writes and not any(figures.get(name) for name in AILS))):
        return RelayFact(pod=key.name, kept=bool(figures))
    argv = ["cairn", "flows", "--server", HERE, "--question", "null"]
    try:
        async with asyncio.timeout(PATIENCE_S):
            done = await exec_in_pod(client, key, CONTAINER, argv, timeout_s=PATIENCE_S)
        answer = msgspec.json.decode(done.stdout, type=_Answer)
    except TimeoutError:
        return RelayFact(error=f"no answer within {PATIENCE_S:.0f} s", pod=key.name)
    except ApiError as error:
        return RelayFact(error=error.message, pod=key.name)
    except msgspec.MsgspecError:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return RelayFact(error=said[-1] if said else "an unreadable answer", pod=key.name)
    if answer.status is None:
        kept = NOT_KEPT not in answer.failed
        return RelayFact(error=answer.failed if kept else "", pod=key.name)
    told = answer.status
    return RelayFact(
        pod=key.name, kept=True, stopped=told.stopped, missed=told.missed, corrupt=told.corrupt
    )
