"""Steps with several hooks at once, with the same ops twice, and with what is not there."""

from __future__ import annotations

from dataclasses import dataclass

from harness.netfilter import Family
from harness.scenario.steps.hooks import Register

__all__ = ("RegisterAgain", "RegisterBatch", "UnregisterAbsent", "UnregisterBatch")


@dataclass(frozen=True, slots=True)
class RegisterBatch:
    """``nf_register_net_hooks``: all of the hooks, or none and the errno of the first that fails.

    :param hooks: of this namespace, 64 at most; to make one fail, leave out its device, name another namespace's, or choose a point
        ``HOOK<n>`` that the family has not or a family ``PF<n>`` that has none, of which core warns
    :param fail: as of :class:`Register`
    """

    netns: str
    hooks: tuple[Register, ...]
    fail: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class UnregisterBatch:
    """``nf_unregister_net_hooks``. :param id: that of a hook that came in a :class:`RegisterBatch`, all of which is there still"""

    id: str
    fail: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RegisterAgain:
    """``nf_register_net_hook`` of the ops of an earlier :class:`Register`; each :class:`Unregister` then takes one registration."""

    id: str
    fail: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class UnregisterAbsent:
    """``nf_unregister_net_hook`` of ops that were never registered: core warns. The parameters are those of :class:`Register`."""

    netns: str
    pf: Family
    hook: str
    device: str | None = None
    fail: tuple[int, ...] = ()
