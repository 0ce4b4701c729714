"""The file that tells the kubelet to call Cairn for pod networks.

    folder, agent's socket  ->  FOLDER/05-cairn.conflist

Standards   CNI specification 1.1, "Network configuration format"
"""

import json
import os
from pathlib import Path

NAME = "05-cairn.conflist"


def cni_config(socket: Path) -> dict[str, object]:
    """Return the network configuration list."""
    return {
        "cniVersion": "1.0.0",
        "name": "cairn",
        "plugins": [{"type": "cairn-cni", "agentSocket": str(socket)}],
    }


def write_cni_config(folder: Path, socket: Path) -> None:
    """Write the file whole; a kubelet never reads half of it."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{NAME}.new"
    aside.write_text(json.dumps(cni_config(socket), indent=2) + "\n")
    os.replace(aside, folder / NAME)
