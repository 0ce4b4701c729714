"""Talk to a lab's supervisor, and start it.

    operation  ->  its answer, or LabError

Invariants  Every call has a deadline; a dead supervisor is told from a slow one.
"""

import json
import socket
import subprocess
import time
from typing import Any

from cairn.lab.inventory import cairn_command
from cairn.lab.process_record import Process, process_to_json
from cairn.lab.state import Lab, LabError

_DEADLINE_S = 15.0
_START_S = 10.0
_TAIL_BYTES = 4096


def start_supervisor(lab: Lab) -> None:
    """Start the lab's supervisor in the background and wait until it answers."""
    command = [*cairn_command(), "lab", "supervise", "--name", lab.name]
    result = subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        raise LabError("the supervisor did not start")
    end = time.monotonic() + _START_S
    while not is_supervised(lab):
        if time.monotonic() > end:
            log = lab.logs / "supervisor.log"
            raise LabError(f"the supervisor does not answer within {_START_S:.0f} s; see {log}")
        time.sleep(0.02)


def is_supervised(lab: Lab) -> bool:
    """Return whether the lab's supervisor answers."""
    try:
        processes(lab)
    except LabError:
        return False
    return True


def processes(lab: Lab) -> list[dict[str, Any]]:
    """Return name, host, state, restarts, last exit and identity of every process."""
    rows: list[dict[str, Any]] = _call(lab, op="status")
    return rows


def trouble(lab: Lab) -> str:
    """Return which processes do not run, how each ended and the last line of its log; or ""."""
    try:
        rows = processes(lab)
    except LabError as error:
        return str(error)
    return "; ".join(
        f"{row['name']}: {row['last_exit']}: {last_line(lab, row['name'])}"
        for row in rows
        if row["state"] == "restarting"
    )


def last_line(lab: Lab, name: str) -> str:
    """Return the last line that a process wrote, "" if it wrote none."""
    path = lab.logs / f"{name}.log"
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def run(lab: Lab, process: Process) -> None:
    """Have this process run; one of that name which differs is replaced."""
    _call(lab, op="run", process=process_to_json(process))


def command(lab: Lab, operation: str, name: str) -> None:
    """`start`, `stop`, `restart` or `forget` the process of that name."""
    _call(lab, op=operation, name=name)


def _call(lab: Lab, **request: Any) -> Any:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_DEADLINE_S)
        try:
            connection.connect(str(lab.control_socket))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline() or b'{"error": "it closed the line"}')
        except (OSError, ValueError) as error:
            raise LabError(
                f"the supervisor of lab {lab.name} does not answer at {lab.control_socket} "
                f"({error}); `cairn lab up --name {lab.name}` starts it again"
            ) from None
    if "error" in answer:
        raise LabError(str(answer["error"]))
    return answer["ok"]
