"""Compile the messages of Hubble's API.

    proto/*/*.proto  ->  src/cairn/hubble/_proto/hubble.binpb: a FileDescriptorSet

    python tools/build_protos.py

Invariants  What it writes has every file that is imported, the well-known types too.
"""

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "proto"
TARGET = ROOT / "src" / "cairn" / "hubble" / "_proto" / "hubble.binpb"


def main() -> None:
    """Compile them all; exits with the compiler's message if one is wrong."""
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    staging = TARGET.with_suffix(".tmp")
    known = Path(protoc.__file__).parent / "_proto"
    files = sorted(str(path) for path in SOURCES.rglob("*.proto"))
    options = [f"-I{SOURCES}", f"-I{known}", "--include_imports"]
    if protoc.main(["protoc", *options, f"--descriptor_set_out={staging}", *files]):
        sys.exit("build_protos: proto/ does not compile")
    staging.replace(TARGET)
    print(f"built {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
