"""The driver of a network interface, as ethtool -i says.

    name of an interface of this thread's network namespace  ->  name of its driver

Standards   linux/include/uapi/linux/ethtool.h (ETHTOOL_GDRVINFO)
"""

import ctypes
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_GDRVINFO = 3
_NAME_BYTES = 16
_DRIVER_AT, _DRIVER_BYTES = 4, 32
_INFO_BYTES = 196


def driver_of(interface: str) -> str:
    """Return the driver's name; "unknown" for a device that does not say."""
    info = ctypes.create_string_buffer(struct.pack("=I", _GDRVINFO), _INFO_BYTES)
    name = interface.encode().ljust(_NAME_BYTES, b"\0")
    request = struct.pack(f"{_NAME_BYTES}sP16x", name, ctypes.addressof(info))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        try:
            fcntl.ioctl(door, _SIOCETHTOOL, request)
        except OSError:
            return "unknown"
    text = info.raw[_DRIVER_AT : _DRIVER_AT + _DRIVER_BYTES]
    return text.split(b"\0")[0].decode(errors="replace") or "unknown"
