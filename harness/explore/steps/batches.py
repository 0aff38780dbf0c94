"""Drawing steps with several hooks at once, with the same ops twice, and with what is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from harness.explore.steps.hooks import registration
from harness.explore.steps.maker import Maker, new_name, point
from harness.netfilter import Family
from harness.scenario.forms.form import Scope
from harness.scenario.steps import Register, RegisterAgain, RegisterBatch, UnregisterAbsent, UnregisterBatch

__all__ = ("MAKERS",)

_BAD_HOOKS = st.sampled_from(["HOOK6", "HOOK7", "HOOK8", "HOOK255"])


def _register_batch(draw: st.DrawFn, scope: Scope) -> RegisterBatch:
    netns = draw(st.sampled_from(scope.topology.namespaces))
    count = draw(st.integers(0, 4))
    hooks = [_of(draw, scope, netns, registration(draw, scope, f"{new_name(scope, 'b')}.{number}")) for number in range(count)]
    if hooks and draw(st.integers(0, 3)) == 3:
        broken = draw(st.integers(0, count - 1))
        hooks[broken] = _broken(draw, hooks[broken])
    return RegisterBatch(netns, tuple(hooks))


def _of(draw: st.DrawFn, scope: Scope, netns: str, hook: Register) -> Register:
    device = draw(st.sampled_from(scope.topology.devices(netns))) if hook.device is not None else None
    return replace(hook, netns=netns, device=device)


def _broken(draw: st.DrawFn, hook: Register) -> Register:
    """A hook that core refuses."""
    if hook.device is not None:
        return replace(hook, device=None)
    return replace(hook, hook=draw(_BAD_HOOKS)) if hook.pf is not Family.INET else hook


def _unregister_batch(draw: st.DrawFn, scope: Scope) -> UnregisterBatch | None:
    whole = [name for name, batch in scope.batches.items() if all(scope.live[each] == 1 for each in batch)]
    return UnregisterBatch(draw(st.sampled_from(whole))) if whole else None


def _register_again(draw: st.DrawFn, scope: Scope) -> RegisterAgain | None:
    live = list(+scope.live)
    return RegisterAgain(draw(st.sampled_from(live))) if live else None


def _unregister_absent(draw: st.DrawFn, scope: Scope) -> UnregisterAbsent:
    return UnregisterAbsent(*point(draw, scope))


MAKERS: Sequence[Maker] = (_register_batch, _unregister_batch, _register_again, _unregister_absent)
