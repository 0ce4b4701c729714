"""Write or remove many entries of a map at once, and know each that the kernel refused.

    Map, {key: value} as octets  ->  one system call; what failed, by key

Invariants  One entry that is refused does not keep the others out.
Not here    Making a map hold exactly what is wanted (map_content.py)
"""

from collections.abc import Iterable, Mapping

from cairn.libbpf import BpfError, Map


def write_entries(table: Map, entries: Mapping[bytes, bytes]) -> dict[bytes, str]:
    """Write all entries; return what failed, by key."""
    if not entries:
        return {}
    try:
        table.update_batch(b"".join(entries), b"".join(entries.values()))
    except BpfError:
        return _write_each(table, entries)
    return {}


def remove_entries(table: Map, keys: Iterable[bytes]) -> str:
    """Remove entries, present or not; return what went wrong, "" if nothing did."""
    try:
        table.delete_batch(b"".join(keys))
    except BpfError as error:
        return str(error)
    return ""


def _write_each(table: Map, entries: Mapping[bytes, bytes]) -> dict[bytes, str]:
    failed: dict[bytes, str] = {}
    for key, value in entries.items():
        try:
            table.update(key, value)
        except BpfError as error:
            failed[key] = str(error)
    return failed
