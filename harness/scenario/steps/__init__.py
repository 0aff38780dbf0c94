"""The kinds of step: a file for each concern, in which a class is a kind (:mod:`harness.scenario.step`).

Each kind is a frozen dataclass with its name in JSON (``do``), its data, its JSON form, its sense check, and its facts, none of which has
a default.

The life of a kind: this package imports its file, the class is looked over when it is made, and is in ``KINDS`` from then on. A step of it
is read from JSON or written by a rule, checked after the steps before it, and asked for its facts by every room. The files of the same
names in ``model/steps``, ``guest/steps`` and ``explore/steps`` do, in the model and on a kernel, what a step says, and draw it at random.

Read ``hooks`` first. No other file lists the kinds.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

for _concern in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_concern.name}")
