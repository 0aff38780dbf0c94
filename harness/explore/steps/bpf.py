"""Drawing steps with BPF programs as hooks."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from harness.explore.steps.maker import Maker, new_name, priorities
from harness.netfilter import HOOK_POINTS, PRIORITY_MAX, PRIORITY_MIN, Family, Verdict, VerdictKind
from harness.scenario.forms.form import Scope
from harness.scenario.steps import ACCEPT, BpfLink, BpfUnlink

__all__ = ("MAKERS",)

_families = st.sampled_from([Family.IPV4, Family.IPV4, Family.IPV6])
_hooks = st.sampled_from(list(HOOK_POINTS[Family.IPV4]))
#: Most of them those that other hooks have, too.
_priorities = st.one_of(*[st.sampled_from([0, 1, -1, -300])] * 3,
                        priorities.map(lambda each: min(max(each, PRIORITY_MIN + 1), PRIORITY_MAX - 1)))
_verdicts = st.sampled_from([ACCEPT, ACCEPT, Verdict(VerdictKind.DROP)])


def _link(draw: st.DrawFn, scope: Scope) -> BpfLink:
    """Often at a priority that is taken."""
    netns = draw(st.sampled_from(scope.topology.namespaces))
    return BpfLink(new_name(scope, "l"), netns, draw(_families), draw(_hooks), draw(_priorities), draw(_verdicts))


def _unlink(draw: st.DrawFn, scope: Scope) -> BpfUnlink | None:
    """Also where there was no link, as its priority was taken."""
    return BpfUnlink(draw(st.sampled_from(list(scope.links)))) if scope.links else None


MAKERS: Sequence[Maker] = (_link, _link, _unlink)
