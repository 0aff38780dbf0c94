"""Drawing steps of an NFQUEUE listener."""

from __future__ import annotations

from hypothesis import strategies as st

from harness.explore.steps.maker import COOKIES, QUEUES, Drawn, always, as_it_is, new_name, priorities, returns
from harness.netfilter import HOOK_POINTS, Family, Verdict, VerdictKind
from harness.scenario.scope import Scope
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.queue import Answer, CopyMode, HangUp, Listen

__all__ = ("DRAWN",)

_copies: st.SearchStrategy[CopyMode] = st.sampled_from(["packet", "packet", "packet", "packet", "meta", "none"])
_lengths = st.sampled_from([None, None, None, None, 0, 1, 2])
_families = st.sampled_from([Family.IPV4, Family.IPV4, Family.IPV6])
_answers = st.one_of(st.sampled_from([VerdictKind.ACCEPT, VerdictKind.ACCEPT, VerdictKind.REPEAT, VerdictKind.STOP, VerdictKind.DROP]),
                     returns)


def _listen(draw: st.DrawFn, scope: Scope) -> Listen | None:
    """Also where there is a listener already."""
    netns, queue = draw(st.sampled_from(scope.topology.namespaces)), draw(st.sampled_from(QUEUES))
    private = [Verdict.decode(hook.verdict) for hook in scope.private.values() if hook.netns == netns]
    if any(verdict.kind is VerdictKind.QUEUE and verdict.queue == queue for verdict in private):
        return None  # the packet of a raw-run cannot wait
    return Listen(netns, queue, draw(_lengths), draw(_copies), fail_open=draw(st.booleans()))


def _queueing(draw: st.DrawFn, scope: Scope) -> Register | None:
    """A hook whose packets a listener waits for."""
    if not scope.listening:
        return None
    netns, queue = draw(st.sampled_from(sorted(scope.listening)))
    hook = draw(st.sampled_from([*HOOK_POINTS[Family.IPV4]]))
    verdict = Verdict(VerdictKind.QUEUE, queue=queue, bypass=draw(st.booleans()))
    return Register(new_name(scope, "q"), netns, draw(_families), hook, draw(priorities), verdict)


def _answer(draw: st.DrawFn, scope: Scope) -> Answer | None:
    if not scope.listening:
        return None
    netns, queue = draw(st.sampled_from(sorted(scope.listening)))
    sent = [cookie for cookie in COOKIES if cookie in scope.cookies]
    return Answer(netns, queue, int(draw(_answers)), draw(st.sampled_from([None, None, *sent])))


def _hang_up(draw: st.DrawFn, scope: Scope) -> HangUp | None:
    return HangUp(*draw(st.sampled_from(sorted(scope.listening)))) if scope.listening else None


DRAWN = Drawn(
    makers=(_listen, _listen, _queueing, _queueing, _answer, _answer, _answer, _answer, _hang_up),
    times={"queues": 2, "upset": 1}, there=always, plainer=as_it_is)
