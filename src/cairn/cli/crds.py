"""`cairn crds`: the CustomResourceDefinitions that Cairn needs, as YAML for kubectl.

package data  ->  YAML documents on standard output
"""

import argparse

import yaml

from cairn.kube import crds


def main(argv: list[str]) -> int:
    """Print all definitions."""
    parser = argparse.ArgumentParser(
        prog="cairn crds", description="Print the CustomResourceDefinitions that Cairn needs."
    )
    parser.parse_args(argv)
    print(yaml.safe_dump_all(crds.load(), sort_keys=False), end="")
    return 0
