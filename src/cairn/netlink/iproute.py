"""The part of pyroute2 that makes links, addresses and routes, without the rest of it.

    pyroute2's modules  ->  IPRoute, NetlinkError, nlmsg, IFF_NOARP

The package's own start imports all it has: a database, nftables, wireless, WireGuard, forty
modules that a daemon then holds for nothing (five MiB on every node). So the package is entered
here by a bare module of its name, and everything in Cairn takes pyroute2 from here first. One of
its modules wants `unittest.mock` at hand, and gets it without the test runner around it.

Not here    Reading links and routes, and routes in bulk (link.py, route.py).
"""

import sys
from importlib.util import find_spec
from types import ModuleType


def _enter_bare(name: str) -> None:
    """Make submodules of a package importable without running the package's own start."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        bare = ModuleType(name)
        bare.__path__ = list(spec.submodule_search_locations)
        bare.__spec__ = spec
        sys.modules[name] = bare


def _leave_bare(name: str) -> None:
    """Let whoever imports the package from now on have it whole."""
    if not hasattr(sys.modules[name], "__file__"):
        for loaded in [n for n in sys.modules if n == name or n.startswith(f"{name}.")]:
            del sys.modules[loaded]


_enter_bare("pyroute2")
_enter_bare("unittest")

from pyroute2.iproute.linux import IPRoute  # noqa: E402
from pyroute2.netlink import nlmsg  # noqa: E402
from pyroute2.netlink.exceptions import NetlinkError  # noqa: E402
from pyroute2.netlink.rtnl.ifinfmsg import IFF_NOARP  # noqa: E402

_leave_bare("unittest")

__all__ = ["IFF_NOARP", "IPRoute", "NetlinkError", "nlmsg"]
