"""What an agent is told to hold ready for a purpose: what is imported, and what is rehearsed. Its end is :mod:`harness.agent.prepare`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ("PREPARATIONS", "Preparation", "Prepared", "Saved")

Saved = Literal["lean", "template", "bare", "counted"]
"""Kinds of templates: "lean" lacks what tests alone import, "template" has everything, "bare" is of a kernel left as it is,
"counted" of one whose clock counts instructions, on one processor."""
Prepared = Literal["trace", "scenarios", "tests", Saved]
"""To watch a command, run scenarios or run tests on a kernel that ran before; and templates."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What an agent loads before it says that it is ready.

    :param imports: modules, and functions that will be called ("module:function")
    :param rehearsals: functions that run once, each in a fork; what they import on the way is imported, too
    :param bare_rehearsals: those instead of a kernel that is left as it is; ``None``: it is not
    :param saved: as a template, which is probed once it is saved, and not now
    """

    imports: tuple[str, ...]
    rehearsals: tuple[str, ...] = ()
    bare_rehearsals: tuple[str, ...] | None = None
    saved: bool = False


_TRACING = ("capstone", "harness.guest.observe:main", "harness.guest.files:receive")
#: Of scapy what builds the packets of scenarios: all of it takes three times as long.
_SCENARIOS = (*_TRACING, "scapy.layers.l2", "scapy.layers.inet", "scapy.layers.inet6", "pyroute2", "harness.guest.executor:main")
_TESTS = (*_SCENARIOS, "bcc", "scapy.all", "pytest", "_pytest.assertion.rewrite", "hypothesis", "xdist",
          "harness.pytest_plugin.guest.worker:serve")
_LEAN_REHEARSALS = ("harness.guest.executor:rehearse",)
_REHEARSALS = (*_LEAN_REHEARSALS, "harness.pytest_plugin.guest.worker:rehearse")
_BARE_REHEARSALS = ("harness.pytest_plugin.guest.worker:rehearse_bare",)

PREPARATIONS: dict[Prepared, Preparation] = {
    "trace": Preparation(_TRACING),
    "scenarios": Preparation(_SCENARIOS),
    "tests": Preparation(_TESTS),
    "lean": Preparation(_SCENARIOS, _LEAN_REHEARSALS, saved=True),
    "template": Preparation(_TESTS, _REHEARSALS, saved=True),
    "counted": Preparation((*_TRACING, "pyroute2", "harness.guest.cost:main"), ("harness.guest.cost:rehearse",), saved=True),
    "bare": Preparation(_TESTS, _REHEARSALS, _BARE_REHEARSALS, saved=True),
}
