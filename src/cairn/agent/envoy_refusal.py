"""Why Envoy refuses the routes of a listener, in its own words.

    routes-PORT.json  ->  one line

Envoy says on its administration socket that it refused a file, and to its log why. So the program
is asked again, about this file alone; that is seldom, and needs no running Envoy.
"""

import asyncio
import json
import tempfile
from pathlib import Path

from cairn.apply.proxy_program import NoEnvoy, find_envoy, validate_command
from cairn.compile.proxy import trial
from cairn.desired.proxy import ROUTES

PATIENCE_S = 10.0


async def explain_routes(directory: Path, port: int) -> str:
    """Return what Envoy says against the routes of a port."""
    try:
        resource = json.loads((directory / ROUTES.format(port=port)).read_text())["resources"][0]
        return await ask(trial(resource)) or "Envoy refuses the rules"
    except (NoEnvoy, OSError, ValueError) as error:
        return f"Envoy refuses the rules ({error})"


async def ask(bootstrap: object) -> str:
    """Return why Envoy would not start from `bootstrap`; "" if it would."""
    program = find_envoy()
    with tempfile.TemporaryDirectory(prefix="cairn-proxy-") as place:
        path = Path(place, "bootstrap.json")
        path.write_text(json.dumps(bootstrap))
        process = await asyncio.create_subprocess_exec(
            *validate_command(program, path),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                _, text = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return "Envoy does not say why in time"
    if process.returncode == 0:
        return ""
    lines = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
    if not lines:
        return f"Envoy ends with status {process.returncode}"
    return " ".join(lines[-1].rpartition(f"{path}': ")[2].split())
