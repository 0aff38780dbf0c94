"""What the kernel's slab allocator holds: to tell after much work whether something stays that should have gone."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

__all__ = ("Objects", "grown", "objects", "stays")

_SLABS = Path("/sys/kernel/slab")
#: Caches of what netfilter, its callers and nfharness.ko allocate; ``:0000256`` is one that SLUB has merged with others of that size.
_WATCHED = re.compile(r"(kmalloc-|skbuff_|nf_|nfharness|net_namespace|UDP|RAW|sock_inode_cache|:).*")
#: What a guest that does nothing in particular comes and goes by: programs that run, files that are read.
_NOISE_OBJECTS, _NOISE_SHARE = 400, 0.05

#: How long the kernel may take to free what it was given: ``kfree_rcu()`` gathers for five seconds (``KFREE_DRAIN_JIFFIES``) before it even
#: waits for the grace period.
_LATE_S, _POLL_S = 20.0, 0.5

Objects = Mapping[str, int]
"""Cache → objects that are allocated."""


def objects(place: Path = _SLABS) -> Objects | None:
    """The objects in use of each cache that netfilter may have some in; ``None`` where the kernel does not tell (``CONFIG_SLUB_DEBUG``).

    A cache is shrunk before it is read: that empties the lists of the processors, and with KASAN frees what is in quarantine.
    """
    found: dict[str, int] = {}
    for cache in sorted(place.glob("*")):
        if cache.is_symlink() or not _WATCHED.fullmatch(cache.name):
            continue
        with suppress(OSError):  # one that has just been destroyed
            (cache / "shrink").write_text("1")
            found[cache.name] = int((cache / "objects").read_text().split()[0])
    return found or None


def grown(before: Objects, after: Objects) -> dict[str, int]:
    """The caches that hold more than before, by more than programs that come and go explain: 400 objects and a twentieth.

    :returns: cache → how many more
    """
    more = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: growth for name, growth in more.items() if growth > _NOISE_OBJECTS + _NOISE_SHARE * before.get(name, 0)}


def stays(before: Objects) -> tuple[Objects, dict[str, int]]:
    """What the caches hold at last, and which of them hold more than before when what was to be freed later has had its time.

    :returns: as :func:`objects`, and as :func:`grown`
    """
    deadline = time.monotonic() + _LATE_S
    while True:
        after = objects() or {}
        more = grown(before, after)
        if not more or time.monotonic() > deadline:
            return after, more
        time.sleep(_POLL_S)
