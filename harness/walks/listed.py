"""The chains and sets of a ruleset as it was listed, and which listing is to be believed of the time of a packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.outcome import describe
from harness.outcome.types import HookCall, Ruleset, Traversal
from harness.walks.here import NotSeen

__all__ = ("Chains", "Chosen", "chosen")

_NOT_LISTED = ("it or its namespace went before it could be, its listing is longer than 4 MiB, or the session was recorded without "
               "--json and --explain")
#: Flags of sets whose elements come and go by themselves, or as packets come.
_RESTLESS = ("dynamic", "timeout")


@dataclass(frozen=True, slots=True)
class Chains:
    """One table of a listing.

    :param objects: of the table, by their kind, as nft lists them
    :param changed: handles of rules that read otherwise in the listing before
    :param refilled: names of sets that have other elements there
    """

    objects: Sequence[tuple[str, dict[str, Any]]]
    changed: frozenset[int] = frozenset()
    refilled: frozenset[str] = frozenset()

    def rules(self, chain: str) -> Sequence[dict[str, Any]]:
        """The rules of a chain in their order."""
        return [one for kind, one in self.objects if kind == "rule" and one["chain"] == chain]

    def listed(self, name: str) -> Sequence[Any]:
        """The elements of a set or map as they were listed; none of one that was not.

        :param name: ``@name``
        """
        found = self._set(name)
        return found.get("elem", ()) if found else ()

    def elements(self, name: str) -> Sequence[Any]:
        """The elements that a set or map had for certain.

        :raises NotSeen: that is not known
        """
        found = self._set(name)
        if found is None:
            raise NotSeen(f"{name} was not listed")
        if any(flag in found.get("flags", ()) for flag in _RESTLESS):
            raise NotSeen(f"the elements of {name} come and go: what it had then is not recorded")
        if name[1:] in self.refilled:
            raise NotSeen(f"{name} was changed between two listings, and the packet came between them")
        return self.listed(name)

    def _set(self, name: str) -> dict[str, Any] | None:
        return next((one for kind, one in self.objects if kind in ("set", "map") and one["name"] == name[1:]), None)


class Chosen(NamedTuple):
    """What is believed of a chain's table.

    :param chains: ``None`` if nothing is
    :param notes: what a reader is to know of that
    """

    chains: Chains | None
    notes: tuple[str, ...]


def chosen(rulesets: Sequence[Ruleset], traversal: Traversal, call: HookCall) -> Chosen:
    """The table of a base chain as it was when the chain was called, as far as listings of that time tell."""
    family, table, _ = (call.chain or "  ").split(" ", 2)
    time, handle = traversal.time or 0, call.evaluated.table if call.evaluated else 0
    tables = [(each, objects) for each in rulesets if each.netns == traversal.netns
              if (objects := _table(each, family, table, handle))]
    if not tables:
        return Chosen(None, (f"table {family} {table} was not listed: {_NOT_LISTED}",))
    later = next(((each, objects) for each, objects in tables if each.last >= time), None)
    earlier = next(((each, objects) for each, objects in reversed(tables) if each.first <= time), None)
    if later is None or later is earlier:
        found, objects = later or earlier or tables[-1]
        before = f"the rules are those of a listing {describe.duration(abs(time - found.last))} before the packet: there is none behind"
        during = "the rules were listed while the packet came"
        return Chosen(Chains(objects), () if later else (before if earlier else during,))
    if earlier is None:
        return Chosen(Chains(later[1]), (f"the rules are those of a listing {describe.duration(later[0].first - time)} after the packet",))
    changed = frozenset(_contents(earlier[1], "rule", "handle").items() ^ _contents(later[1], "rule", "handle").items())
    refilled = frozenset(_contents(earlier[1], "set", "name").items() ^ _contents(later[1], "set", "name").items()) | frozenset(
        _contents(earlier[1], "map", "name").items() ^ _contents(later[1], "map", "name").items())
    base = later if call.rule is None or any(one["handle"] == call.rule.handle for kind, one in later[1] if kind == "rule") else earlier
    note = ("the table was changed between two listings, and the packet came between them: rules that differ cannot be told",)
    return Chosen(Chains(base[1], frozenset(handle for handle, _ in changed), frozenset(name for name, _ in refilled)),
                  note if changed or refilled else ())


def _table(ruleset: Ruleset, family: str, table: str, handle: int) -> list[tuple[str, dict[str, Any]]]:
    """A table's objects; none if it is not there, or another one of its name is."""
    found = [next(iter(each.items())) for each in ruleset.listed if isinstance(each, dict) and len(each) == 1]
    of_table = [(kind, one) for kind, one in found if isinstance(one, dict) and one.get("family") == family and table == one.get(
        "name" if kind == "table" else "table")]
    return of_table if any(kind == "table" and one.get("handle") == handle for kind, one in of_table) else []


def _contents(objects: Sequence[tuple[str, dict[str, Any]]], kind: str, key: str) -> dict[Any, str]:
    """Each object of a kind in words that differ when it does."""
    return {one[key]: repr(one.get("expr", one.get("elem"))) for found, one in objects if found == kind}
