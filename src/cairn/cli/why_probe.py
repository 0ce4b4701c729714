"""A real connection from where the client is, with what its image has.

    Question  ->  a shell script there  ->  Probe

Invariants  Opens one connection and sends two echo requests, nothing else.
"""

import asyncio
import contextlib

from cairn.diagnose.policy.world import World
from cairn.diagnose.why.objects import daemon_pod, first_container, raw_pod
from cairn.diagnose.why.parts import Probe
from cairn.diagnose.why.question import Question, Role
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.pod_exec import exec_in_pod
from cairn.kube.metadata import key_of
from cairn.lab.inventory import cairn_command
from cairn.lab.state import Lab
from cairn.net import Protocol

WAIT_S = 12.0
SCRIPT = """
host=$1 port=$2 size=$3 url=$4
has() { command -v "$1" >/dev/null 2>&1; }
if [ -n "$url" ] && has curl; then
  said=$(curl -sS -m 3 -o /dev/null -w '%{http_code}' "$url" 2>&1) && echo "HTTP $said" ||
    echo "FAILED $said"
elif [ "$port" = 0 ]; then :
elif has bash && has timeout; then
  said=$(timeout 3 bash -c "exec 3<>/dev/tcp/$host/$port" 2>&1) && echo CONNECTED ||
    echo "FAILED ${said:-no answer within 3 s}"
elif has nc; then nc -z -w 3 "$host" "$port" && echo CONNECTED || echo "FAILED nc: no connection"
elif has python3; then
  python3 -c "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)" \
    "$host" "$port" 2>/dev/null && echo CONNECTED || echo "FAILED no connection within 3 s"
else echo "FAILED no curl, bash, nc or python3 there"
fi
if has ping; then
  if ping -c 1 -W 1 -s 8 "$host" >/dev/null 2>&1; then
    ping -c 1 -W 1 -M do -s "$size" "$host" >/dev/null 2>&1 && echo LARGE || echo SMALL
  else echo MUTE
  fi
fi
"""
PAYLOAD_BYTES = {4: 1472, 6: 1452}


async def probe(client: Client, question: Question, world: World, lab: Lab | None) -> Probe | None:
    """Return what became of a real connection; None if there is nothing to connect to."""
    if question.address is None and question.target.role is not Role.NAME:
        return None
    argv = ["sh", "-c", SCRIPT, "sh", *_arguments(question)]
    where = question.client.text
    try:
        out = await _run(client, question, world, lab, argv)
    except (ApiError, TimeoutError, OSError) as error:
        return Probe(where, connected=False, said=str(error) or "no answer in time")
    if out is None:
        return None
    return read_probe(where, out, protocol=question.protocol)


def _arguments(question: Question) -> list[str]:
    host = str(question.address or question.target.name)
    version = question.address.version if question.address else 4
    port = question.at if question.protocol is Protocol.TCP else 0
    url = ""
    if question.request.method == "GET":
        bracketed = f"[{host}]" if ":" in host else host
        url = f"http://{bracketed}:{question.at or 80}{question.request.path}"
    return [host, str(port or 0), str(PAYLOAD_BYTES[version]), url]


def read_probe(where: str, out: str, *, protocol: Protocol = Protocol.TCP) -> Probe:
    """Return what the script's lines say."""
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    failed = next((line[7:] for line in lines if line.startswith("FAILED")), "")
    http = next((line for line in lines if line.startswith("HTTP")), "")
    answered = "LARGE" in lines or "SMALL" in lines
    connected = "CONNECTED" in lines or (bool(http) and http != "HTTP 403")
    if protocol is not Protocol.TCP:
        connected = answered
    said = http or failed or ("it connects" if connected else "no answer")
    if protocol is not Protocol.TCP:
        said = "the address answers ping" if answered else "the address does not answer ping"
    large = "only small packets" if "SMALL" in lines else ""
    return Probe(where, connected, said.splitlines()[-1], large)


async def _run(
    client: Client, question: Question, world: World, lab: Lab | None, argv: list[str]
) -> str | None:
    """Return what the script printed there; None if nobody can run it."""
    party = question.client
    if party.role is Role.POD and party.key is not None:
        container = first_container(raw_pod(world, party.key))
        done = await exec_in_pod(client, party.key, container, argv, timeout_s=WAIT_S)
        return done.stdout.decode(errors="replace")
    if party.role is Role.NODE and lab is None and (pod := daemon_pod(world, party.name)):
        done = await exec_in_pod(client, key_of(pod), "agent", argv, timeout_s=WAIT_S)
        return done.stdout.decode(errors="replace")
    if lab is None or party.role not in (Role.HOST, Role.NODE):
        return None
    words = [*cairn_command(), "lab", "exec", "--name", lab.name, party.name, "--", *argv]
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(WAIT_S):
            out, _ = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    return out.decode(errors="replace")
