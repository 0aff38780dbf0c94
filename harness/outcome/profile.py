"""What a running kernel's hook core was found to do where kernels legitimately differ: probed, never told by a version number."""

from __future__ import annotations

import errno
from dataclasses import asdict, dataclass
from typing import Any

from harness.netfilter import Family

__all__ = ("KernelProfile",)


@dataclass(frozen=True, slots=True)
class KernelProfile:
    """The model's parameter. The defaults are those of a current kernel.

    :param release: ``uname -r``, for a reader only
    :param families: families that the kernel has hook points for (ARP and BRIDGE are options of its configuration)
    :param stolen_errno: ``nf_hook_slow`` returns the errno that STOLEN carries; 0 before 6.7 and the stable branches that took it
    :param inet_ingress: INET hooks may sit at a device's INGRESS (5.10)
    :param netdev_egress: devices have EGRESS (5.16, ``CONFIG_NETFILTER_EGRESS``)
    :param netdev_egress_errno: answer to a registration at EGRESS without it: EINVAL from a kernel that does not know the point,
        EOPNOTSUPP from one built without
    :param unknown_verdict_warns: ``nf_hook_slow`` warns of a verdict that it has no case for, REPEAT and STOP among them (as
        ``stolen_errno``)
    """

    release: str = ""
    families: tuple[Family, ...] = tuple(Family)
    stolen_errno: bool = True
    inet_ingress: bool = True
    netdev_egress: bool = True
    netdev_egress_errno: int = errno.EINVAL
    unknown_verdict_warns: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"families": [family.name for family in self.families]}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> KernelProfile:
        """:raises KeyError: an unknown family; :raises TypeError: an unknown key"""
        families = {"families": tuple(Family[name] for name in document["families"])} if "families" in document else {}
        return cls(**{**document, **families})
