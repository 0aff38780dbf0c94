"""Drawing steps with private arrays."""

from __future__ import annotations

from hypothesis import strategies as st

from harness.explore.steps.maker import Drawn, always, as_it_is, new_name, priorities, returns
from harness.netfilter import Verdict, VerdictKind
from harness.scenario.scope import Scope
from harness.scenario.steps.raw import LIST_MAX, RawDelete, RawInsert, RawList, RawRun

__all__ = ("DRAWN",)

_ARRAYS = st.sampled_from(["a", "b"])
_starts = st.one_of(st.integers(0, 4), st.sampled_from([1024, 2**31, 2**32 - 1]))
_packets = st.sampled_from([None, None, 1, 2, 3])
_lengths = st.sampled_from([1, 2, 3, 3, 5, LIST_MAX])
_counts = st.sampled_from([1, 1, 1, 2, 5])


def _insert(draw: st.DrawFn, scope: Scope) -> RawInsert | None:
    netns, verdict = draw(st.sampled_from(scope.topology.namespaces)), draw(returns)
    queued = Verdict.decode(verdict)
    if queued.kind is VerdictKind.QUEUE and (netns, queued.queue) in scope.listening:
        return None  # the packet of a raw-run cannot wait
    return RawInsert(new_name(scope, "r"), netns, draw(_ARRAYS), draw(priorities), verdict, draw(_counts), packet=draw(_packets))


def _delete(draw: st.DrawFn, scope: Scope) -> RawDelete | None:
    if not scope.private:
        return None
    name = draw(st.sampled_from(list(scope.private)))
    hook = scope.private[name]
    others = [array for netns, array in sorted(scope.arrays) if netns == hook.netns and array != hook.array]
    return RawDelete(name, draw(st.sampled_from([None, None, None, *others])))


def _run(draw: st.DrawFn, scope: Scope) -> RawRun | None:
    if not scope.arrays:
        return None
    netns, array = draw(st.sampled_from(sorted(scope.arrays)))
    return RawRun(netns, array, draw(_starts))


def _list(draw: st.DrawFn, scope: Scope) -> RawList | None:
    if not scope.arrays:
        return None
    netns, array = draw(st.sampled_from(sorted(scope.arrays)))
    return RawList(netns, array, draw(_lengths))


DRAWN = Drawn(
    makers=(_insert, _insert, _run, _list, _list, _delete),
    times={"anything": 2, "direct": 3, "upset": 1}, there=always, plainer=as_it_is)
