"""What was found is kept, and tried first the next time: scenarios, below :func:`harness.host.paths.run_dir`."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from harness.errors import UserError
from harness.host.paths import run_dir
from harness.scenario.codec import dumps, loads
from harness.scenario.step import Scenario

__all__ = ("keep", "kept")

_MOST = 20


def _directory(mix: str) -> Path:
    return run_dir() / "explore" / mix


def keep(scenario: Scenario, mix: str) -> None:
    """Keep a scenario for those who explore the same mix. Where it cannot be written it is not kept."""
    text = dumps(scenario)
    with suppress(OSError):
        _directory(mix).mkdir(parents=True, exist_ok=True, mode=0o700)
        (_directory(mix) / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json").write_text(text)


def kept(mix: str) -> list[Scenario]:
    """What was found, the newest first; not all of it, if that is much."""
    found: list[tuple[float, Scenario]] = []
    with suppress(OSError):
        for path in _directory(mix).glob("*.json"):
            with suppress(UserError, ValueError):
                found.append((path.stat().st_mtime, loads(path.read_text())))
    return [scenario for _, scenario in sorted(found, key=lambda one: one[0], reverse=True)][:_MOST]
