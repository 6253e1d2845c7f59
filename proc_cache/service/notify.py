"""Tells the service manager how it goes, as sd_notify(3) describes: datagrams to `$NOTIFY_SOCKET`."""

from __future__ import annotations

import os
import socket


def notify(*assignments: str) -> bool:
    """Send `READY=1`, `STATUS=...` and the like; false where no service manager asked for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address or address[0] not in "/@":
        return False
    if address[0] == "@":  # an abstract socket
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(address)
            sock.sendall("\n".join(assignments).encode("utf-8", "backslashreplace"))
    except OSError:
        return False  # it has gone: nobody to tell
    return True
