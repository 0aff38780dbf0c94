"""What core does with the arrays that it replaces, looked at after every scenario."""

from __future__ import annotations

from contextlib import suppress

from harness.guest.changes import await_quiet
from harness.guest.module import ArrayBooks, HookRefused
from harness.guest.run import Run
from harness.outcome.facts import Facts

__all__ = ("baseline", "found")

_QUIET_SECONDS = 5.0
_MANY = 128
"""Arrays that RCU has after a scenario are few: it has called all of them a few milliseconds later."""


def _books(run: Run, *, settle: bool = False) -> ArrayBooks | None:
    """Core's arrays so far; ``None`` where they cannot be followed."""
    with suppress(HookRefused):
        return next(iter(run.modules.values())).memory(settle=settle)
    return None


def baseline(run: Run) -> ArrayBooks | None:
    """The books before a scenario's first step, without what only seems to be left: arrays of namespaces that are on their way out."""
    before = _books(run)
    return _settled(run) or before if before and before.leaked else before


def _settled(run: Run) -> ArrayBooks | None:
    """A namespace on its way out has left the module's list, and others' hooks are still in it."""
    await_quiet(next(iter(run.modules.values())), _QUIET_SECONDS)
    return _books(run, settle=True)


def found(run: Run) -> Facts:
    """What should not have become of arrays since the first step: nothing, on a kernel that is right."""
    before, now = run.memory, _books(run)
    if before is None or now is None:
        return ()
    if len(now.leaked) > len(before.leaked) or now.waiting > _MANY:
        now = _settled(run) or now
    if now.untold > before.untold:
        run.doubts.append(f"{now.untold - before.untold} arrays were not followed, for want of room")
    facts: list[tuple[str, str | int]] = []
    if len(now.leaked) > len(before.leaked):
        facts.append(("arrays that nobody has and nobody frees", len(now.leaked) - len(before.leaked)))
    if now.waiting > _MANY:
        facts.append(("arrays that RCU was given and that are not freed", now.waiting))
    if now.early > before.early:
        facts.append(("arrays freed before a grace period", now.early - before.early))
    if now.overwritten > before.overwritten:
        facts.append(("arrays whose ops were overwritten while readers could come", now.overwritten - before.overwritten))
    return tuple(facts)
