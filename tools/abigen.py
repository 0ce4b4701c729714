"""Generate the Python twins of the data plane's ABI from its BTF.

    bpf/include/cairn/X.h, .cache/bpf/abi.o  ->  src/cairn/abi/X.py, structs.py (all of them),
                                                 verdicts.py, records.py, docs/drops.md

    python tools/abigen.py [--check]

Sizes, offsets and types come from the BTF of the built object; sentences come from the headers'
comments. With --check nothing is written: it exits 1 and names the files that differ.

Invariants  A structure with padding that is not named `pad` is refused.
"""

import argparse
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HEADERS = ROOT / "bpf" / "include" / "cairn"
OBJECT = ROOT / ".cache" / "bpf" / "abi.o"
PREFIX = "cairn_"
SCALARS = {1: ("B", "u1"), 2: ("H", "<u2"), 4: ("I", "<u4"), 8: ("Q", "<u8")}
RECORDS = (
    "event",
    "tuple",
    "connection",
    "metric",
    "service",
    "socket_key",
    "backend_counters",
    "flow_key",
    "policy_flow",
    "rule_counters",
)
MANY_FIELDS = 20
SKIPPED = ("addr", "maglev", "maglev_small")
MODULES = (
    "config",
    "conntrack",
    "endpoint",
    "event",
    "flow",
    "node",
    "policy",
    "rate",
    "service",
    "trace",
    "types",
)


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a structure."""

    name: str
    kind: str  # scalar, big, address, octets
    size: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Structure:
    """One structure of the ABI, without the prefix of its name."""

    name: str
    size: int
    fields: tuple[Field, ...]

    @property
    def class_name(self) -> str:
        return camel(self.name)


def camel(name: str) -> str:
    """Return snake_case as CamelCase."""
    return "".join(part.capitalize() for part in name.split("_"))


def read_btf() -> list[dict[str, Any]]:
    """Return the types in the object's BTF, by id minus one."""
    if not OBJECT.exists():
        sys.exit(f"abigen: {OBJECT.relative_to(ROOT)} is missing: python tools/build_bpf.py")
    command = ["bpftool", "-j", "btf", "dump", "file", str(OBJECT)]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except FileNotFoundError:
        sys.exit("abigen: bpftool is not installed: apt install bpftool")
    types: list[dict[str, Any]] = json.loads(done.stdout)["types"]
    return types


def field_of(types: list[dict[str, Any]], member: dict[str, Any], sentence: str) -> Field:
    """Return a member with its kind and size."""
    kind, name = types[member["type_id"] - 1], member["name"]
    if kind["kind"] == "STRUCT" and kind["name"] == "cairn_addr":
        return Field(name, "address", 16, sentence)
    if kind["kind"] == "ARRAY":
        element = kind["type_id"]
        while types[element - 1]["kind"] == "TYPEDEF":
            element = types[element - 1]["type_id"]
        return Field(name, "octets", kind["nr_elems"] * types[element - 1]["size"], sentence)
    if kind["kind"] != "TYPEDEF":
        sys.exit(f"abigen: field {name} is a {kind['kind']}, not a fixed-width type")
    big = kind["name"].startswith("__be")
    while kind["kind"] == "TYPEDEF":
        kind = types[kind["type_id"] - 1]
    return Field(name, "big" if big else "scalar", kind["size"], sentence)


def structures(types: list[dict[str, Any]], comments: dict[str, str]) -> list[Structure]:
    """Return the structures in the order of the headers' BTF."""
    found = []
    for item in types:
        name = item.get("name", "").removeprefix(PREFIX)
        if item["kind"] != "STRUCT" or item["name"] == name or name in SKIPPED:
            continue
        fields = tuple(
            field_of(types, member, comments.get(f"{name}.{member['name']}", ""))
            for member in item["members"]
        )
        if sum(field.size for field in fields) != item["size"]:
            sys.exit(f"abigen: struct {item['name']} has padding that no field names")
        found.append(Structure(name, item["size"], fields))
    return sorted(found, key=lambda structure: structure.name)


def read_headers() -> tuple[dict[str, str], str]:
    """Return the comment of each structure's field, and all headers as one text."""
    text = "\n".join(path.read_text() for path in sorted(HEADERS.glob("*.h")))
    comments = {}
    for body in re.finditer(r"^(?:struct|enum) cairn_(\w+) \{\n(.*?)^\};", text, re.M | re.S):
        pattern = r"^\s*(?:struct \w+ |__\w+ )?(\w+)(?:\[\d+\])?(?: = \d+)?[;,] /\* (.*?) \*/$"
        for line in re.finditer(pattern, body[2], re.M):
            comments[f"{body[1]}.{line[1]}"] = line[2]
    return comments, text


def sentence_of(text: str) -> str:
    """Return a comment as a docstring's sentence."""
    named = re.fullmatch(r"cairn_(\w+)", text)
    if named:
        return f"Of `{camel(named[1])}`."
    if re.match(r"[a-z]+\b", text):
        text = text[0].upper() + text[1:]
    return text if text.endswith(".") else text + "."


def format_of(field: Field) -> str:
    """Return the struct code of a field; big-endian ones are read as octets."""
    return SCALARS[field.size][0] if field.kind == "scalar" else f"{field.size}s"


def class_lines(structure: Structure) -> list[str]:
    """Return the dataclass of a structure."""
    fields = [field for field in structure.fields if field.name != "pad"]
    lines = ["", "", "@dataclass(frozen=True, slots=True)", f"class {structure.class_name}:"]
    lines += [f'    """struct cairn_{structure.name}."""', ""]
    for field in fields:
        kind = {"address": "Address", "octets": "bytes"}.get(field.kind, "int")
        lines.append(f"    {field.name}: {kind}")
        if field.sentence:
            lines.append(f'    """{sentence_of(field.sentence)}"""')
    lines += [
        f"    SIZE: ClassVar[int] = {structure.size}",
        "",
        "    @classmethod",
        "    def read(cls, raw: bytes) -> Self:",
        f'        """Return the value in {structure.size} octets."""',
    ]
    code = "=" + "".join(
        f"{field.size}x" if field.name == "pad" else format_of(field) for field in structure.fields
    )
    names = [field.name for field in fields]
    if len(fields) > MANY_FIELDS:  # one line for each, not two
        lines.append(f'        values = unpack("{code}", raw)')
        names = [f"values[{at}]" for at in range(len(fields))]
    else:
        comma = "," if len(fields) == 1 else ""
        lines.append(f'        {", ".join(names)}{comma} = unpack("{code}", raw)')
    reads = {"address": "read_address({0})", "big": 'int.from_bytes({0}, "big")'}
    values = ", ".join(
        reads.get(field.kind, "{0}").format(name) for field, name in zip(fields, names, strict=True)
    )
    lines += [f"        return cls({values})", "", "    def write(self) -> bytes:"]
    lines.append(f'        """Return the {structure.size} octets."""')
    writes = {
        "address": "write_address(self.{0})",
        "big": 'self.{0}.to_bytes({1}, "big")',
    }
    given = ", ".join(
        writes.get(field.kind, "self.{0}").format(field.name, field.size) for field in fields
    )
    return [*lines, f'        return pack("{code}", {given})']


def enum_lines(item: dict[str, Any], comments: dict[str, str]) -> list[str]:
    """Return the enum of an ABI enum other than the verdicts."""
    name = item["name"].removeprefix(PREFIX)
    base = "IntFlag" if name.endswith("_flag") else "IntEnum"
    stem = f"CAIRN_{name.removesuffix('_flag').upper()}_"
    of_module = f"CAIRN_{name.upper().rpartition('_')[0]}_"
    lines = ["", "", f"class {camel(name)}({base}):", f'    """enum cairn_{name}."""', ""]
    for value in item["values"]:
        short = value["name"].removeprefix(stem).removeprefix(of_module).removeprefix("CAIRN_")
        lines.append(f"    {short} = {value['val']}")
        comment = comments.get(f"{name}.{value['name']}", "")
        if comment:
            lines.append(f'    """{sentence_of(comment)}"""')
    return lines


def header_names(module: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return what a header defines: structures and enums, and constants with their values."""
    text = (HEADERS / f"{module}.h").read_text()
    types = re.findall(r"^(?:struct|enum) cairn_(\w+) \{", text, re.M)
    return types, re.findall(r"^#define CAIRN_(\w+) (\d+|0x[0-9a-f]+)$", text, re.M)


def module_text(
    module: str, types: list[dict[str, Any]], known: list[Structure], comments: dict[str, str]
) -> tuple[str, list[str]]:
    """Return the source of one header's twin, and the names that it defines."""
    wanted, constants = header_names(module)
    enums = [
        item
        for item in types
        if item["kind"] == "ENUM" and item["name"].removeprefix(PREFIX) in wanted
    ]
    found = [structure for structure in known if structure.name in wanted]
    names = [name for name, _ in constants]
    names += [camel(item["name"].removeprefix(PREFIX)) for item in enums]
    names += [structure.class_name for structure in found]
    addresses = any(field.kind == "address" for item in found for field in item.fields)
    lines = [
        f'"""Twins of bpf/include/cairn/{module}.h, whose comments say what each is for.',
        "",
        "    dataclasses  <->  octets of map keys and values",
        "",
        "Generated by tools/abigen.py: do not edit.",
        "",
        "Units       ports in host order; names that end in _ns count nanoseconds",
        "Invariants  `read` takes exactly SIZE octets; `write` leaves padding 0.",
        '"""',
        "",
        "from dataclasses import dataclass",
    ]
    bases = sorted({"IntFlag" if i["name"].endswith("_flag") else "IntEnum" for i in enums})
    if bases:
        lines.append(f"from enum import {', '.join(bases)}")
    lines += ["from struct import pack, unpack", "from typing import ClassVar, Self", ""]
    if addresses:
        lines.append("from cairn.abi.address import read_address, write_address")
        lines += ["from cairn.net import Address", ""]
    lines += [f"{name} = {value}" for name, value in constants]
    for item in enums:
        lines += enum_lines(item, comments)
    for structure in found:
        lines += class_lines(structure)
    return "\n".join(lines) + "\n", names


def structs_text(defined: dict[str, list[str]]) -> str:
    """Return src/cairn/abi/structs.py, which names everything."""
    lines = [
        '"""Keys and values of the data plane\'s maps, all of them under one name.',
        "",
        "    dataclasses  <->  octets of map keys and values",
        "",
        "Generated by tools/abigen.py from bpf/include/cairn: do not edit.",
        '"""',
        "",
    ]
    for module, names in sorted(defined.items()):
        lines.append(f"from cairn.abi.{module} import ({', '.join(sorted(names, key=isort_key))},)")
    every = sorted((name for names in defined.values() for name in names), key=isort_key)
    lines += ["", f"__all__ = [{', '.join(json.dumps(name) for name in every)},]"]
    return "\n".join(lines) + "\n"


def isort_key(name: str) -> tuple[bool, str]:
    """Return the linter's order: constants before classes."""
    return (not name.isupper(), name)


def records_text(types: list[dict[str, Any]], comments: dict[str, str]) -> str:
    """Return src/cairn/abi/records.py."""
    lines = [
        '"""Layouts for reading many records at once.',
        "",
        "    octets  ->  numpy columns",
        "",
        "Generated by tools/abigen.py from bpf/include/cairn: do not edit.",
        "",
        "Shapes      an address is 16 octets (`S16` would drop trailing zeros: `V16`)",
        '"""',
        "",
        "import numpy as np",
    ]
    for structure in structures(types, comments):
        if structure.name not in RECORDS:
            continue
        lines += ["", f"{structure.name.upper()} = np.dtype(", "    ["]
        for field in structure.fields:
            code = SCALARS[field.size][1] if field.kind == "scalar" else f"V{field.size}"
            if field.kind == "big":
                code = f">u{field.size}"
            lines.append(f'        ("{field.name}", "{code}"),')
        lines += ["    ]", ")"]
    return "\n".join(lines) + "\n"


def verdicts(headers: str) -> list[tuple[str, int, str]]:
    """Return name, value and text of each verdict, of the X-list in verdict.h."""
    return [
        (found[1], int(found[2]), found[3])
        for found in re.finditer(r'^\tX\((\w+), (\d+), "(.*)"\)', headers, re.M)
    ]


def first_drop(headers: str) -> int:
    """Return the value from which verdicts are drops."""
    found = re.search(r"^#define CAIRN_FIRST_DROP (\d+)$", headers, re.M)
    if found is None:
        sys.exit("abigen: verdict.h does not define CAIRN_FIRST_DROP")
    return int(found[1])


def verdicts_text(headers: str) -> str:
    """Return src/cairn/abi/verdicts.py."""
    lines = [
        '"""What became of a packet, and why: the data plane\'s verdicts.',
        "",
        "    number in a counter or event  ->  name and text",
        "",
        "Generated by tools/abigen.py from bpf/include/cairn/verdict.h: do not edit.",
        '"""',
        "",
        "from enum import IntEnum",
        "",
        f"FIRST_DROP = {first_drop(headers)}",
        "",
        "",
        "class Verdict(IntEnum):",
        '    """One outcome; those from FIRST_DROP on are drops."""',
        "",
        *(f"    {name} = {value}" for name, value, _ in verdicts(headers)),
        "",
        "    @property",
        "    def is_drop(self) -> bool:",
        '        """Whether the packet went no further."""',
        "        return self.value >= FIRST_DROP",
        "",
        "    @property",
        "    def text(self) -> str:",
        '        """What happened, in words."""',
        "        return TEXTS[self]",
        "",
        "",
        "TEXTS: dict[Verdict, str] = {",
        *(f"    Verdict.{name}: {json.dumps(text)}," for name, _, text in verdicts(headers)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def drops_text(headers: str) -> str:
    """Return docs/drops.md."""
    lines = [
        "# What becomes of a packet",
        "",
        "Generated by `tools/abigen.py` from `bpf/include/cairn/verdict.h`: do not edit.",
        "Every packet that a program of Cairn sees is counted under exactly one of these.",
    ]
    for title, wanted in (("Forwarded", False), ("Dropped", True)):
        lines += ["", f"## {title}", "", "| value | name | meaning |", "|---|---|---|"]
        for name, value, text in verdicts(headers):
            if (value >= first_drop(headers)) == wanted:
                lines.append(f"| {value} | `{name}` | {text} |")
    return "\n".join(lines) + "\n"


def formatted(text: str) -> str:
    """Return Python source as ruff formats it."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "x.py", "-"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(f"abigen: ruff cannot format what was generated: {done.stderr.decode()}")
    return done.stdout.decode()


def generate() -> dict[Path, str]:
    """Return every generated file and its content."""
    types = read_btf()
    comments, headers = read_headers()
    package = ROOT / "src" / "cairn" / "abi"
    known = structures(types, comments)
    modules, defined = {}, {}
    for name in MODULES:
        text, defined[name] = module_text(name, types, known, comments)
        modules[package / f"{name}.py"] = formatted(text)
    return {
        **modules,
        package / "structs.py": formatted(structs_text(defined)),
        package / "records.py": formatted(records_text(types, comments)),
        package / "verdicts.py": formatted(verdicts_text(headers)),
        ROOT / "docs" / "drops.md": drops_text(headers),
    }


def main() -> int:
    """Write the twins, or check them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    options = parser.parse_args()
    stale = [
        (path, text)
        for path, text in generate().items()
        if not path.exists() or path.read_text() != text
    ]
    for path, text in stale:
        if options.check:
            print(f"abigen: {path.relative_to(ROOT)} is stale: make abi", file=sys.stderr)
        else:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
