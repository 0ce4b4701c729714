"""Make a small BPF map hold exactly what is wanted.

    Map, {key: value} as octets  ->  writes, and a line for each that failed

Order       New and changed entries first, removals after: no lookup misses in between.
"""

from collections.abc import Mapping

from cairn.libbpf import BpfError, Map
from cairn.reconcile import plan


def apply_content(table: Map, desired: Mapping[bytes, bytes]) -> list[str]:
    """Make `table` hold `desired`; return what failed, a line each."""
    todo = plan(dict(table.items()), desired)
    failed: list[str] = []
    for key, value in todo.writes.items():
        try:
            table.update(key, value)
        except BpfError as error:
            failed.append(str(error))
    for key in todo.delete:
        table.delete(key)
    return failed
