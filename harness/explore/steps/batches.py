"""Drawing steps with several hooks at once, with the same ops twice, and with what is not there."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from harness.explore.steps.hooks import registration
from harness.explore.steps.maker import Drawn, always, as_it_is, new_name, point
from harness.netfilter import Family
from harness.scenario.scope import Scope
from harness.scenario.steps.batches import (
    RegisterAgain,
    RegisterBatch,
    RegisterTogether,
    UnregisterAbsent,
    UnregisterBatch,
    UnregisterTogether,
)
from harness.scenario.steps.hooks import Register

__all__ = ("DRAWN",)

_BAD_HOOKS = st.sampled_from(["HOOK6", "HOOK7", "HOOK8", "HOOK255"])


def _register_batch(draw: st.DrawFn, scope: Scope) -> RegisterBatch:
    netns = draw(st.sampled_from(scope.topology.namespaces))
    count = draw(st.integers(0, 4))
    hooks = [_of(draw, scope, netns, registration(draw, scope, f"{new_name(scope, 'b')}.{number}")) for number in range(count)]
    if draw(st.booleans()) and hooks:
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


def _register_together(draw: st.DrawFn, scope: Scope) -> RegisterTogether:
    netns, name = draw(st.sampled_from(scope.topology.namespaces)), new_name(scope, "t")
    first = replace(_of(draw, scope, netns, registration(draw, scope, f"{name}.1")), cookie=None)
    second = replace(_of(draw, scope, netns, registration(draw, scope, f"{name}.2")), pf=first.pf, hook=first.hook, device=first.device,
                     verdict=first.verdict, cookie=None, reinjected=first.reinjected, times=first.times)
    return RegisterTogether(first, second)


def _unregister_together(draw: st.DrawFn, scope: Scope) -> UnregisterTogether | None:
    once = [name for name, times in scope.live.items() if times == 1]
    first = draw(st.sampled_from(once)) if once else None
    others = [name for name in once if first is not None and name != first and scope.points[name][0] == scope.points[first][0]]
    return UnregisterTogether(first, draw(st.sampled_from(others))) if first is not None and others else None


DRAWN = Drawn(
    makers=(*[_register_batch] * 2, _unregister_batch, _register_again, _unregister_absent, _register_together, _unregister_together),
    times={"anything": 2, "direct": 1, "upset": 1}, there=always, plainer=as_it_is)
