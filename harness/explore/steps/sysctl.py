"""Drawing steps with settings of a namespace."""

from __future__ import annotations

from hypothesis import strategies as st

from harness.explore.steps.maker import Drawn, always, as_it_is
from harness.scenario.scope import Scope
from harness.scenario.steps.sysctl import BRIDGE, SETTINGS, Sysctl

__all__ = ("DRAWN",)


def _sysctl(draw: st.DrawFn, scope: Scope) -> Sysctl:
    netfilter = any(bridge.netfilter for bridge in scope.topology.bridges)
    name = draw(st.sampled_from([name for name in SETTINGS if netfilter or not name.startswith(BRIDGE)]))
    return Sysctl(draw(st.sampled_from(scope.topology.namespaces)), name, draw(st.integers(0, SETTINGS[name])))


DRAWN = Drawn(makers=(_sysctl,), times={"upset": 2}, there=always, plainer=as_it_is)
