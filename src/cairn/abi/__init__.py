"""The data plane's ABI: keys, values, events and verdicts, twins of bpf/include/cairn.

    dataclasses, numpy columns  <->  octets of BPF maps

Invariants  structs, records and verdicts are generated: `make abi`.
"""
