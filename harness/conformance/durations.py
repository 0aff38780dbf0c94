"""How long rules take, as the checks before have recorded: with several guests the longest rules begin first, so that all end together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.conformance.rule import Rule
from harness.errors import HostError
from harness.host.paths import run_dir
from harness.host.store import locked, write_whole

__all__ = ("longest_first", "record")

#: A rule that was never run, a new one, may take long.
_UNKNOWN = float("inf")


def _file() -> Path:
    return run_dir() / "durations.json"


def _recorded() -> dict[str, float]:
    """Rule → seconds that it took last; nothing where no check has ended, or the file is damaged: the order is no matter of a result."""
    try:
        found = json.loads(_file().read_text())
        return {str(rule): float(seconds) for rule, seconds in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def longest_first(rules: Sequence[Rule]) -> list[Rule]:
    """The rules in the order in which several guests should take them: of equals in the order given."""
    seconds = _recorded()
    return sorted(rules, key=lambda rule: -seconds.get(rule.id, _UNKNOWN))


def record(seconds: Mapping[str, float]) -> None:
    """Keep how long some rules took. A disk that is full, or one that cannot be written, keeps nothing.

    :param seconds: by the rule's id
    """
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        with locked(_file().with_name(".durations.lock")):
            write_whole(_file(), json.dumps(_recorded() | dict(seconds)))
    except (OSError, HostError):
        return
