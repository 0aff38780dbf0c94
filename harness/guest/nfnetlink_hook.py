"""The kernel's own list of hooks: ``nfnetlink_hook`` (5.14, ``CONFIG_NETFILTER_NETLINK_HOOK``), which ``nft list hooks`` shows."""

from __future__ import annotations

import contextlib
import struct
from functools import lru_cache
from typing import NamedTuple

from harness.guest.genetlink import Netlink, NetlinkRefused, attribute, attributes
from harness.guest.netns import Namespace
from harness.netfilter import Family

__all__ = ("HookList", "ListedHook", "decoded")

_NETLINK_NETFILTER, _NFNL_SUBSYS_HOOK, _NFNL_MSG_HOOK_GET = 12, 12, 0
_HOOKNUM, _PRIORITY, _DEVICE, _FUNCTION, _MODULE = range(1, 6)
_HEADER = struct.Struct("!BBH")
_NUMBER, _SIGNED = struct.Struct("!I"), struct.Struct("!i")


class ListedHook(NamedTuple):
    """A hook as the list has it.

    :param module: ``None`` for vmlinux
    """

    function: str
    module: str | None
    priority: int


class HookList:
    """The list, as one namespace sees it.

    :param netns: ``None`` for the calling thread's
    """

    def __init__(self, netns: Namespace | None = None) -> None:
        with netns.inside() if netns else contextlib.nullcontext():
            self._netlink = Netlink(_NETLINK_NETFILTER)
        self._requests: dict[tuple[Family, int, str | None], bytes] = {}

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def available(self) -> bool:
        """Whether the kernel has the list; asking for it loads it."""
        try:
            self.read(Family.IPV4, 0)
        except NetlinkRefused:
            return False
        return True

    def read(self, pf: Family, hook: int, device: str | None = None) -> tuple[bytes, ...]:
        """A point's hooks in the order of its array, undecoded: equal answers are equal lists.

        :raises NetlinkRefused: EINVAL: the kernel has no such list, or no such point; ENODEV, EPROTONOSUPPORT, EOPNOTSUPP
        """
        request = self._requests.get((pf, hook, device))
        if request is None:
            request = _HEADER.pack(pf, 0, 0) + attribute(_HOOKNUM, _NUMBER.pack(hook))
            if device is not None:
                request += attribute(_DEVICE, device.encode() + b"\0")
            self._requests[pf, hook, device] = request
        return tuple(self._netlink.dump_bodies(_NFNL_SUBSYS_HOOK << 8 | _NFNL_MSG_HOOK_GET, request))


@lru_cache(maxsize=4096)
def decoded(body: bytes) -> ListedHook:
    """A message of :meth:`HookList.read`."""
    found = attributes(body[_HEADER.size:])
    module = found.get(_MODULE)
    return ListedHook(_text(found[_FUNCTION]), _text(module) if module is not None else None, _SIGNED.unpack(found[_PRIORITY])[0])


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode()
