"""Which programs stand at the hooks: those that look at what traces ask for, or the others.

    on or off  ->  the data plane's, the uplink's in XDP, the kernel watch's, exchanged in place

Cost        the first time half a second in which they are loaded and verified; then milliseconds
"""

from dataclasses import dataclass

from cairn.apply.data_plane import DataPlane
from cairn.apply.kernel_watch import KernelWatch
from cairn.apply.xdp import XdpHook


@dataclass(frozen=True, slots=True)
class TraceSwitch:
    """The switch of one node."""

    data_plane: DataPlane
    xdp: XdpHook
    kernel: KernelWatch

    def __call__(self, *, on: bool) -> None:
        """Exchange all programs; raises BpfError."""
        self.data_plane.trace(on=on)
        self.xdp.reload()
        self.kernel.reload()
