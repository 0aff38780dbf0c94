"""The executable specification of ``net/netfilter/core.c``, and what a scenario does according to it.

The life of a prediction: ``predict`` takes a scenario and the profile of a kernel, and keeps what happens in a ``run``; each step is a
function in ``steps``; hooks come and go in arrays (``register``, ``entries``), packets cross the layers of the stack (``path``) and in
each a verdict loop (``slow``), may wait for a listener (``queue``, ``nfqnl``) or be tracked (``conntrack``, ``nat``). What is not the
scenario's own, such as AppArmor's hooks, is told (``foreign``). The answer is an :class:`harness.outcome.types.Outcome`, as a kernel's
is. Without a scenario the loops can be fed with what a kernel's hooks answered (``observed``).

Read beside core.c: ``structures``, ``entries``, ``register``, ``slow``, then ``predict``. Functions are named as the kernel's; ``sysctl``
has the settings that a namespace begins with.
"""

from __future__ import annotations

from harness.model.foreign import Foreign, seen
from harness.model.predict import predict

__all__ = ("Foreign", "predict", "seen")
