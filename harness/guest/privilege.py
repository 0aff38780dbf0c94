"""Who may run scenarios: root of the machine, whose requests may make the kernel warn; and what only a guest of ours is used for."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import GuestError

__all__ = ("require_guest", "require_root")

_CAP_NET_ADMIN = 12
_ALL_IDS = ["0", "0", "4294967295"]
_AGENT = b"/run/stage0.py"


def require_root(thread: Path = Path("/proc/thread-self")) -> None:
    """Check that the calling thread has CAP_NET_ADMIN in the initial user namespace, as ``nfh_needs_root()`` of the module does.

    :param thread: the thread's directory in procfs; a kernel without CONFIG_USER_NS has no ``uid_map`` in it
    :raises GuestError: it has not
    """
    effective = re.search(r"^CapEff:\s*(\w+)$", (thread / "status").read_text(), re.MULTILINE)
    capable = effective is not None and int(effective[1], 16) >> _CAP_NET_ADMIN & 1
    ids = thread / "uid_map"
    if ids.exists() and ids.read_text().split() != _ALL_IDS:
        raise GuestError("this is a user namespace: scenarios make the kernel warn and look beyond their network namespaces",
                         hint="run it as root of the machine, outside of containers that have a user namespace")
    if not capable:
        raise GuestError("scenarios need CAP_NET_ADMIN: they make network namespaces and register hooks", hint="run it as root")


def require_guest(first_process: Path = Path("/proc/1")) -> None:
    """Check that process 1 is our agent (``harness/agent/init.sh``): then nobody else lives on the machine, and its first network
    namespace is ours to use.

    :param first_process: its directory in procfs
    :raises GuestError: it is another one
    """
    if _AGENT not in (first_process / "cmdline").read_bytes().split(b"\0"):
        raise GuestError("this machine's first network namespace is used by others, and the scenario's hooks would meet their packets",
                         hint="run it in a guest: leave --backend away")
