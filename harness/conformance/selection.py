"""What a check is about: rules and fields of the profile, as a command line names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.conformance import RULES, Rule
from harness.conformance.reference import FIELDS, PREFIX, chosen_fields, load
from harness.errors import UserError
from harness.scenario.reader import quote, suggest

__all__ = ("Selection", "chosen")


@dataclass(frozen=True, slots=True)
class Selection:
    """What a check is about.

    :param fields: of the profile, those that are compared with the reference: all of a whole check, else those that decide about the rules
    :param named_fields: those that were asked for by name
    :param like: the reference to compare with, rather than the nearest
    :param allowed: fields that may depart
    """

    rules: tuple[Rule, ...]
    fields: frozenset[str]
    named_fields: tuple[str, ...] = ()
    like: str | None = None
    allowed: tuple[str, ...] = ()

    @classmethod
    def of(cls, patterns: Sequence[str], like: str | None = None, allowed: Sequence[str] = ()) -> Selection:
        """The selection that a command line asks for.

        :raises UserError: no such rule, reference or field
        """
        if like is not None:
            load(like)
        allowed = [name.removeprefix(PREFIX) for name in allowed]
        for name in allowed:
            if name not in FIELDS:
                raise UserError(f"--allow-profile {quote(name)}: no such field", hint=suggest(name, FIELDS, what="fields"))
        named = chosen_fields(patterns)
        others = [pattern for pattern in patterns if not chosen_fields([pattern])]
        rules = chosen(others) if others or not patterns else ()
        deciding = (rule.reads() for rule in rules) if patterns else (FIELDS,)
        return cls(rules, frozenset(named).union(*deciding), named, like, tuple(allowed))


def chosen(patterns: Sequence[str]) -> tuple[Rule, ...]:
    """Rules by id, glob (``order.*``) or prefix (``order``: itself and ``order.*``), each once, in the order of core.c; all for no pattern.

    :raises UserError: a pattern that no rule matches
    """
    found: set[str] = set()
    for pattern in patterns:
        prefix = f"{pattern.rstrip('.')}."
        matching = {name for name in RULES if fnmatchcase(name, pattern) or name.startswith(prefix)}
        if not matching:
            raise UserError(f"no rule {quote(pattern)}", hint=suggest(pattern, RULES, what="rules"))
        found |= matching
    return tuple(rule for name, rule in RULES.items() if name in found or not patterns)
