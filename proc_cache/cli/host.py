"""The machine that this runs on, for documents that are read elsewhere."""

from __future__ import annotations

import os

from ..history.schema import read_boot_id
from ..render.ecs import Host


def this_host(boot_id: str | None = None) -> Host:
    """Give this machine; of an earlier boot of it, with that one's id."""
    names = os.uname()
    is_now = boot_id in (None, read_boot_id())
    return Host(
        hostname=names.nodename,
        boot_id=boot_id or read_boot_id(),
        architecture=names.machine,
        kernel=names.release if is_now else None,  # another boot may have had another kernel
        pid_ns_ino=str(os.stat("/proc/self/ns/pid").st_ino) if is_now else None,
    )
