"""What sort of departure a difference is, whichever step, packet and hooks it is about: that it stays the same while a scenario shrinks."""

from __future__ import annotations

import re

from harness.outcome.diff import Difference

__all__ = ("kind",)

_PARTS = (
    (r"steps\[-?\d+\]", "errno"),
    (r"steps\[-?\d+\]/splats", "splats"),
    (r"steps\[-?\d+\]/nf_hook_slow", "nf_hook_slow"),
    (r"steps\[-?\d+\]/.*", "slots"),
    (r"packet [^/]*", "packet"),
    (r"packet [^/]*/fate", "fate"),
    (r"packet [^/]*/[^/]*/call \d+", "call"),
    (r"packet [^/]*/.*", "traversal"),
)
#: In an explanation, beside names.
_PHRASES = ("is missing", "should not be", "a dummy", "another order", "behind the scenario's back", "was not called", "another verdict",
            "at another place", "another device", "another function", "another slot", "another loop", "returned something else",
            "did not warn", "other hooks were called")


def kind(difference: Difference) -> str:
    """``errno 0 → E2BIG``, ``slots is missing``, ``fate``: one line, equal for differences of the same sort."""
    part = next((name for pattern, name in _PARTS if re.fullmatch(pattern, difference.where)), difference.where)
    if part == "errno":
        return f"errno {difference.predicted} → {difference.observed}"
    return " ".join([part, *(phrase for phrase in _PHRASES if phrase in difference.explanation)])
