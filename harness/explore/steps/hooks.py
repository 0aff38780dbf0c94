"""Drawing steps with hooks at hook points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import strategies as st

from harness.explore.steps.maker import COOKIES, Drawn, always, new_name, point, priorities, returns, verdicts
from harness.netfilter import Family, VerdictKind
from harness.scenario.scope import Scope
from harness.scenario.step import Step
from harness.scenario.steps.hooks import ACCEPT, Dump, Register, RegisterMany, Unregister

__all__ = ("DRAWN", "refused", "registration")

_cookies = st.sampled_from([None, *COOKIES])
_halves = st.sampled_from([(0,), (1,), (1,)])
_IN = 5
"""Of so many hooks in both halves of INET one is refused."""
_reinjected = st.one_of(st.sampled_from([VerdictKind.REPEAT, VerdictKind.STOP, VerdictKind.QUEUE]), returns)


def registration(draw: st.DrawFn, scope: Scope, name: str) -> Register:
    """A hook at some point, its verdict for one packet or for all; of packets that come back from a queue another one."""
    netns, pf, hook, device = point(draw, scope)
    priority, verdict = draw(priorities), draw(verdicts)
    queues = device is None and pf is not Family.ARP
    if verdict.kind is VerdictKind.QUEUE and not queues:
        verdict = ACCEPT
    reinjected = times = None
    if queues and scope.listening and draw(st.booleans()):
        reinjected = int(draw(_reinjected))
        times = draw(st.integers(1, 3)) if reinjected == VerdictKind.REPEAT else None
    told = verdict != ACCEPT or reinjected is not None
    return Register(name, netns, pf, hook, priority, verdict, device, draw(_cookies) if told else None, reinjected=reinjected, times=times)


def refused(draw: st.DrawFn, step: Step) -> Step:
    """The step; one that registers in both halves of INET may find no memory in one. That leaves no dummy, and so the ground is kept."""
    if not isinstance(step, Register) or step.pf is not Family.INET or step.device is not None:
        return step
    return replace(step, fail=draw(_halves)) if draw(st.integers(1, _IN)) == _IN else step


def _register(draw: st.DrawFn, scope: Scope) -> Register:
    return registration(draw, scope, new_name(scope, "h"))


def _register_many(draw: st.DrawFn, scope: Scope) -> RegisterMany:
    netns, pf, hook, device = point(draw, scope)
    return RegisterMany(new_name(scope, "m"), netns, pf, hook, draw(st.integers(1, 5)), draw(priorities), device)


def _unregister(draw: st.DrawFn, scope: Scope) -> Unregister | None:
    live = list(+scope.live)
    return Unregister(draw(st.sampled_from(live))) if live else None


def _dump(draw: st.DrawFn, scope: Scope) -> Dump | None:
    netns, pf, hook, device = point(draw, scope)
    return Dump(netns, pf, hook, device) if pf is not Family.INET or device is not None else None


def _plainer(step: Step) -> Iterator[Step]:
    """Fewer of many hooks."""
    if isinstance(step, RegisterMany) and step.count > 1:
        yield from (replace(step, count=count) for count in (1, step.count // 2, step.count - 1))


DRAWN = Drawn(
    makers=(_register, _register, _register, _unregister, _unregister, _register_many, _dump),
    times={"anything": 4, "direct": 2, "packets": 3, "queues": 1, "upset": 2}, there=always, plainer=_plainer)
