"""The name that an address of the kernel's code has. A template's tracer holds such names: see :mod:`harness.vm.template`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("ADDRESS_BITS", "Symbol")

ADDRESS_BITS = 64
"""Above an address's own bits stands how many modules had gone when it was seen (:func:`harness.walks.sightings.numbered`)."""


@dataclass(frozen=True, slots=True, order=True)
class Symbol:
    """A symbol.

    :param module: its owner; ``None`` for vmlinux
    """

    address: int
    name: str
    module: str | None
