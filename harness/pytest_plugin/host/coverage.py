"""``--coverage DIR``: what gcov counted in each test is in ``DIR/KERNEL/TEST``, and what it had before any test in ``DIR/KERNEL/before``.

Counters have their guest's paths there. ``nfharness coverage --read DIR`` reports on it.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path

from harness.host.progress import Progress
from harness.host.unpacked import unpack
from harness.images.specs import resolved

__all__ = ("BEFORE", "keep", "place_of")

#: Beside the directories of tests, none of which is called so.
BEFORE = "before"


@cache
def place_of(directory: str, kernel: str) -> Path:
    """Where the counters of a kernel's tests are.

    :param directory: of ``--coverage``
    :param kernel: as ``--kernel`` names it
    :raises UserError: there is no such kernel
    """
    return Path(directory, resolved(kernel, Progress(quiet=True)).label)


def keep(place: Path, test: str, counters: str) -> None:
    """Write what a test's guest has counted.

    :param place: of the kernel's tests
    :param test: the name of the test's directory
    :param counters: the property of a report
    :raises OSError: it cannot be written
    """
    told = json.loads(counters)
    if not (place / BEFORE).exists():
        unpack(base64.b64decode(told["before"]), place / BEFORE)
    unpack(base64.b64decode(told["test"]), place / test)
