"""Build the BPF objects with clang, only those whose sources changed.

    bpf/prog/*.bpf.c   ->  src/cairn/_bpf/*.o
    bench/bpf/*.bpf.c  ->  .cache/bpf/bench_*.o, which no one but the benchmarks loads

    python tools/build_bpf.py [--stats] [--force]

With --stats it loads each object and prints the instructions that the verifier processed, per
program (needs root).

Invariants  No kernel headers beyond the C library's are read: the build needs no running BTF.
"""

import argparse
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "bpf" / "prog"
OUTPUT = ROOT / "src" / "cairn" / "_bpf"
BENCH_SOURCES = ROOT / "bench" / "bpf"
CACHE = ROOT / ".cache" / "bpf"
ABI = CACHE / "abi.o"
COMPILERS = ("clang-19", "clang-18", "clang-17", "clang-16", "clang")
STRIPPERS = ("llvm-strip-19", "llvm-strip-18", "llvm-strip-17", "llvm-strip-16", "llvm-strip")
FLAGS = ("-g", "-O2", "-target", "bpf", "-mcpu=v3", "-std=gnu11", "-Wall", "-Wextra", "-Werror")
SOFT = ("-Wno-unused-parameter", "-Wno-sign-compare")


def first_tool(names: tuple[str, ...], package: str) -> str:
    """Return the first program of `names` on the PATH; exits with a hint if there is none."""
    for name in names:
        if shutil.which(name):
            return name
    sys.exit(f"build_bpf: none of {', '.join(names)} is installed: apt install {package}")


def includes() -> list[str]:
    """Return where headers are: ours, and the C library's for this machine."""
    multiarch = Path("/usr/include") / f"{platform.machine()}-linux-gnu"
    if not Path("/usr/include/bpf/bpf_helpers.h").exists():
        sys.exit("build_bpf: /usr/include/bpf/bpf_helpers.h is missing: apt install libbpf-dev")
    return [f"-I{ROOT / 'bpf' / 'include'}", f"-I{multiarch}"]


def newest(folder: Path) -> float:
    """Return when a file below `folder`, or this script, last changed."""
    files = [*folder.rglob("*.[ch]"), Path(__file__)]
    return max(path.stat().st_mtime for path in files)


def target_of(source: Path) -> Path:
    """Return the object that `source` builds; the ABI's is for the generator only."""
    name = source.name.removesuffix(".bpf.c")
    if source.parent == BENCH_SOURCES:
        return CACHE / f"bench_{name}.o"
    return ABI if name == "abi" else OUTPUT / f"{name}.o"


def build(source: Path) -> None:
    """Compile one program; exits with the compiler's message if it fails."""
    target = target_of(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_suffix(".tmp.o")
    clang = first_tool(COMPILERS, "clang-19")
    extra = ["-Wpadded"] if target == ABI else []
    command = [clang, *FLAGS, *SOFT, *extra, *includes(), "-c", str(source), "-o", str(staging)]
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"build_bpf: {source.relative_to(ROOT)} does not compile")
    subprocess.run([first_tool(STRIPPERS, "llvm-19"), "-g", str(staging)], check=True)
    staging.replace(target)
    print(f"built {target.relative_to(ROOT)}")


def print_stats() -> None:
    """Load every object and print what the verifier processed."""
    from cairn.libbpf import BpfError, load_object

    for path in sorted(OUTPUT.glob("*.o")):
        try:
            with load_object(path) as loaded:
                for name, program in loaded.programs.items():
                    print(f"{path.name:20} {name:22} {program.verified_instructions:8}")
        except BpfError as error:
            sys.exit(f"build_bpf: {error}")


def main() -> None:
    """Build what is out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stats", action="store_true", help="print verified instructions")
    parser.add_argument("--force", action="store_true", help="build everything")
    options = parser.parse_args()
    changed = max(newest(ROOT / "bpf"), newest(BENCH_SOURCES))
    for source in (*sorted(SOURCES.glob("*.bpf.c")), *sorted(BENCH_SOURCES.glob("*.bpf.c"))):
        target = target_of(source)
        if options.force or not target.exists() or target.stat().st_mtime < changed:
            build(source)
    if options.stats:
        print_stats()


if __name__ == "__main__":
    main()
