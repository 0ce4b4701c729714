"""Reaches the relay's history: by its own address, or through the cluster's API.

    Question  ->  Answer

Without an address the question is asked in the relay's container, as a person would with
`kubectl exec`: no port is opened for it, and who may ask is the cluster's decision.
"""

import argparse
import asyncio
import os

import msgspec

from cairn.cli.cluster_objects import connect
from cairn.cli.relay_pod import LOOK, running_relays
from cairn.drive.kube_client import Client
from cairn.drive.pod_exec import exec_in_pod
from cairn.kube.metadata import Key, key_of
from cairn.relay.history.question import Question
from cairn.relay.history_client import Answer, Keys, NoHistory, ask, ask_status

CONTAINER = "relay"
HERE = "localhost:4245"
"""Where the relay answers inside its pod."""
_QUESTION = msgspec.json.Decoder(Question | None)
_ANSWER = msgspec.json.Decoder(Answer)


def add_reach(parser: argparse.ArgumentParser) -> None:
    """Add where the relay is."""
    parser.add_argument(
        "--server",
        default=os.environ.get("HUBBLE_SERVER", ""),
        metavar="HOST:PORT",
        help="the relay's own address (default: $HUBBLE_SERVER, else through the cluster's API)",
    )
    parser.add_argument("--tls-ca", default="", metavar="FILE", help="certificates to trust; TLS")
    parser.add_argument("--tls-cert", default="", metavar="FILE", help="our certificate, for mTLS")
    parser.add_argument("--tls-key", default="", metavar="FILE", help="its key")


def reach(options: argparse.Namespace, question: Question | None) -> Answer:
    """Return the answer, to None the history's status; raises NoHistory, ApiError, NoAccess."""
    if options.server:
        answer = ask_here(options, question)
    else:
        answer = asyncio.run(_through_api(options.kubeconfig, question))
    if answer.failed:
        raise NoHistory(answer.failed, wrong_question=answer.wrong_question)
    return answer


def ask_here(options: argparse.Namespace, question: Question | None) -> Answer:
    """Return the answer of the relay at --server."""
    keys = Keys(options.tls_ca, options.tls_cert, options.tls_key)
    if question is None:
        return ask_status(options.server, keys)
    return ask(options.server, question, keys)


def answer_exec(options: argparse.Namespace) -> int:
    """Be the other end of `reach`, in the relay's container: print the answer as JSON."""
    try:
        answer = ask_here(options, _QUESTION.decode(options.question))
    except NoHistory as error:
        answer = Answer(failed=str(error), wrong_question=error.wrong_question)
    print(msgspec.json.encode(answer, enc_hook=str).decode())
    return 0


async def _through_api(kubeconfig: str | None, question: Question | None) -> Answer:
    spelt = msgspec.json.encode(question).decode()
    argv = ["cairn", "flows", "--server", HERE, "--question", spelt]
    async with connect(kubeconfig) as client:
        running = await running_relays(client)
        if not running:
            raise NoHistory(f"no relay runs in this cluster: {LOOK}")
        return await _exec(client, key_of(running[0]), argv)


async def _exec(client: Client, pod: Key, argv: list[str]) -> Answer:
    done = await exec_in_pod(client, pod, CONTAINER, argv, timeout_s=150)
    try:
        return _ANSWER.decode(done.stdout)
    except msgspec.DecodeError:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        why = said[-1] if said else f"exit status {done.code}"
        raise NoHistory(f"the relay {pod} gave no answer: {why}") from None
