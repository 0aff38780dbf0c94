"""Faults of a real kernel's ``net/netfilter/core.c``, all compiled into one kernel of which a parameter chooses one."""

from __future__ import annotations

from tests.mutants.kernel import (
                               again,
                               arrays,
                               corners,
                               doubted,
                               edges,
                               first,
                               fresh,
                               later,
                               packets,
                               points,
                               seldom,
                               siblings,
                               tracking,
                               unseen,
)
from tests.mutants.kernel.fault import Edit, Fault

__all__ = ("FAULTS", "Edit", "Fault")

#: By number, from 1: what the kernel's parameter is set to.
FAULTS: tuple[Fault, ...] = (*arrays.FAULTS, *points.FAULTS, *packets.FAULTS, *tracking.FAULTS, *unseen.FAULTS, *edges.FAULTS, *fresh.FAULTS,
                               *seldom.FAULTS, *first.FAULTS, *corners.FAULTS, *later.FAULTS, *doubted.FAULTS, *siblings.FAULTS, *again.FAULTS)
