"""Verdicts in JSON: a name, an object with what it carries, or, where any will do, the number that a hook returns."""

from __future__ import annotations

import errno
from typing import Any

from harness.netfilter import Verdict, VerdictKind, errno_name
from harness.scenario.reader import Value, suggest

__all__ = ("U32_MAX", "raw_verdict", "raw_verdict_json", "verdict", "verdict_json")

U32_MAX = 2**32 - 1

_VERDICTS = {"accept": VerdictKind.ACCEPT, "drop": VerdictKind.DROP, "stolen": VerdictKind.STOLEN, "queue": VerdictKind.QUEUE}
_VERDICT_NAMES = {kind: name for name, kind in _VERDICTS.items()}
_RAW_VERDICTS = {**_VERDICTS, "repeat": VerdictKind.REPEAT, "stop": VerdictKind.STOP}
_ERRNOS = {name: number for name, number in vars(errno).items() if name.startswith("E") and isinstance(number, int)}


def verdict(value: Value) -> Verdict:
    """The verdict that a JSON value stands for.

    :raises UserError: no verdict that a hook at a hook point may give
    """
    if isinstance(value.value, str):
        return Verdict(_VERDICTS[value.choice(_VERDICTS)])
    value.keys(("kind",), ("errno", "queue", "bypass"))
    kind = _VERDICTS[value["kind"].choice(_VERDICTS)]
    for key, kinds in (("errno", ("drop", "stolen")), ("queue", ("queue",)), ("bypass", ("queue",))):
        if key in value and _VERDICT_NAMES[kind] not in kinds:
            value[key].fail(f"{_VERDICT_NAMES[kind]} carries no {key}", f"remove it; {' and '.join(kinds)} can carry one")
    return Verdict(
        kind,
        errno=_errno(value["errno"]) if "errno" in value else 0,
        queue=value["queue"].integer(0, 0xFFFF) if "queue" in value else 0,
        bypass=value["bypass"].boolean() if "bypass" in value else False,
    )


def verdict_json(given: Verdict) -> str | dict[str, Any]:
    """JSON of a verdict: its name, or an object with what it carries."""
    found: dict[str, Any] = {"kind": _VERDICT_NAMES[given.kind]}
    if given.errno:
        found["errno"] = errno_name(given.errno)
    if given.queue:
        found["queue"] = given.queue
    if given.bypass:
        found["bypass"] = True
    return found if len(found) > 1 else str(found["kind"])


def raw_verdict(value: Value) -> int:
    """A verdict as elsewhere, ``repeat``, ``stop``, or the number that the hook returns."""
    if isinstance(value.value, int):
        return value.integer(0, U32_MAX)
    if isinstance(value.value, str):
        return _RAW_VERDICTS[value.choice(_RAW_VERDICTS)]
    return verdict(value).encode()


def raw_verdict_json(number: int) -> int | str | dict[str, Any]:
    """JSON of what a hook returns: a name, a verdict's JSON, or the number where it means none."""
    names = {int(kind): name for name, kind in _RAW_VERDICTS.items()}
    given = Verdict.decode(number)
    if number in names:
        return names[number]
    if given.kind not in _VERDICT_NAMES or given.rest or (given.errno and errno_name(given.errno) not in _ERRNOS):
        return number
    return verdict_json(given)


def _errno(value: Value) -> int:
    if isinstance(value.value, int) and not isinstance(value.value, bool):
        name = errno_name(value.value) if value.value else "0"
        value.fail(f"an errno is given by its name, not as {value.value}",
                   f'write "{name}"' if name in _ERRNOS else "write its name, such as \"EPERM\"")
    name = value.string()
    if name.lstrip("-") in _ERRNOS and name not in _ERRNOS:
        value.fail(f"{name!r}: an errno has no sign here, the kernel's minus is added", f'write "{name.lstrip("-")}"')
    if name not in _ERRNOS:
        value.fail(f"unknown errno {name!r}", suggest(name, _ERRNOS, what="names") if len(name) < 20 else None)
    return _ERRNOS[name]
