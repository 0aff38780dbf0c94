"""Plain pytest files whose tests run inside real kernels: the pytest plugin ``nfharness``.

What a test may import from here: the fates of a packet, to compare :attr:`Walk.fate` with.

What a test uses lies beside this file: ``lab`` and what it is made of (``networks``, ``sending``, ``connecting``, ``flooding``,
``listening``, ``walks``, ``chains``), ``kernel``, ``modules`` (a test author's, loaded), ``vm``, the ``fixtures`` that give them, and
``mistakes``, a test author's.

The life of a test: ``plugin`` is what pytest loads, on the host and in the guest: options, markers, and which tests are for a kernel
(``selection``). It registers the half that is for its side: the host's (``host``) sends each test to a guest, where ``guest`` runs it and
watches over it; ``report`` writes files. ``carried`` and ``live`` are what both halves say to each other,
``points`` makes reports of a test's TAP points; ``once`` takes signals that come at once for one.

Read ``plugin``, ``lab``, then ``host.runner`` and ``guest.worker``, between which a test's life goes to and fro.
"""

from __future__ import annotations

from harness.outcome.fate import (
    Absorbed,
    Consumed,
    Delivered,
    Dropped,
    DroppedByStack,
    Queued,
    Rejected,
    Segmented,
    Sent,
    Stolen,
)
from harness.pytest_plugin.walks import Walk

__all__ = (
    "Absorbed", "Consumed", "Delivered", "Dropped", "DroppedByStack", "Queued", "Rejected", "Segmented", "Sent", "Stolen", "Walk",
)
