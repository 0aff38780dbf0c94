"""Why apt does not install what it was asked for, as the error of who asked: which package there is not, which one stands in the way."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches

from harness.errors import UserError

__all__ = ("refusal",)

_UNKNOWN = re.compile(r"^E: (?:Unable to locate package (\S+)|Package '(\S+)' has no installation candidate)$", re.MULTILINE)
_REMOVE_DISABLED = "remove is disabled"
_ALIKE, _PROVIDERS, _PROBLEMS = 3, 5, 4
_CUTOFF = 0.75


def refusal(said: str, suite: str, wanted: Sequence[str], known: Callable[[], Sequence[str]]) -> UserError | None:
    """The error for what apt said; ``None`` if it failed over something else, as a network.

    :param said: all that it said, in English
    :param suite: whose packages were asked for
    :param known: the names that there are, for a hint
    """
    if found := _UNKNOWN.search(said):
        name = found[1] or found[2]
        if providers := _block(said, f"Package {name} is a virtual package provided by:"):
            message = f"{name} is no package of {suite}, but what several of them provide"
            return UserError(message, hint=f"name one: {', '.join(line.split()[0] for line in providers[:_PROVIDERS])}")
        return UserError(f"{suite} has no package {name}", hint=_alike(name, suite, known()))
    asked = ", ".join(wanted)
    if problems := _block(said, "The following packages have unmet dependencies:"):
        # A package stands at the first column, and what else is wrong with it, or the rest of that, farther in.
        joined = re.sub(r"\n {2,}", " ", "\n".join(problems)).splitlines()
        why = "; ".join(re.sub(r"\s+", " ", line).strip().replace(" : ", ": ", 1) for line in joined[:_PROBLEMS])
        return UserError(f"{asked} cannot be installed over the guest's userland: {why}", hint="leave out one of those that conflict")
    if _REMOVE_DISABLED in said:
        lost = " ".join(_block(said, "The following packages will be REMOVED:")).split()
        return UserError(f"{asked} conflicts with what the guest's userland has: {', '.join(lost)}", hint="name another package")
    return None


def _block(said: str, heading: str) -> list[str]:
    """The indented lines below a heading."""
    lines: list[str] = []
    for line in said.partition(f"{heading}\n")[2].splitlines():
        if not line.startswith(" "):
            break
        lines.append(line)
    return lines


def _alike(name: str, suite: str, known: Sequence[str]) -> str:
    """The hint for a name that there is not."""
    ended = [one for one in known if one.endswith(f"-{name}") or one.startswith(f"{name}-")]
    alike = get_close_matches(name, known, n=_ALIKE, cutoff=_CUTOFF) or sorted(ended, key=len)[:_ALIKE]
    where = f"look among the packages of Debian {suite}"
    return f"did you mean {' or '.join(alike)}? {where}" if alike else where
