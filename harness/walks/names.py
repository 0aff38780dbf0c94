"""Names that a filter asks for and no packet of the session had: more often a slip of the pen than an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.outcome.types import HookCall, PacketOutcome

__all__ = ("Name", "Names")

#: So many names of a kind are kept in a long session; with more of them no name is called absent.
_KEPT = 1000
#: So many are shown.
_SHOWN = 8
#: Kind → how the absence of a name is said, and how a kind with no names at all is.
_ABSENT = {
    "netns": ("no packet crossed a hook point in a namespace named {text}", "none was seen"),
    "dev": ("no packet crossed a hook point with a device named {text}", "none had one"),
    "hook": ("no hook that was called has {text} in its name", "none was called"),
}


@dataclass(frozen=True, slots=True)
class Name:
    """A name that a filter has.

    :param kind: what has it: ``netns``, ``dev``; ``hook``: a hook's chain, function or module has the text in its name
    """

    kind: str
    text: str

    def among(self, seen: Iterable[str]) -> bool:
        """Whether what was seen has the name."""
        return any(self.text in name if self.kind == "hook" else self.text == name for name in seen)


@dataclass(slots=True)
class Names:
    """The names that a session's packets met, by kind."""

    _seen: Mapping[str, dict[str, None]] = field(default_factory=lambda: {kind: {} for kind in _ABSENT})

    def add(self, packet: PacketOutcome) -> None:
        """Take the names that a packet met."""
        for traversal in packet.traversals:
            self._note("netns", (traversal.netns,))
            self._note("dev", filter(None, (traversal.indev, traversal.outdev)))
            for call in traversal.calls:
                self._note("hook", map(_named, (call, *call.calls)))

    def _note(self, kind: str, names: Iterable[str]) -> None:
        seen = self._seen[kind]
        if len(seen) <= _KEPT:
            seen.update(dict.fromkeys(names))

    def absent(self, sought: Sequence[Name]) -> tuple[str, ...]:
        """A sentence for each name that no packet met, with those that packets met."""
        return tuple(self._sentence(name) for name in dict.fromkeys(sought)
                     if len(self._seen[name.kind]) <= _KEPT and not name.among(self._seen[name.kind]))

    def _sentence(self, name: Name) -> str:
        seen = sorted(self._seen[name.kind])
        absent, nothing = _ABSENT[name.kind]
        more = f" and {len(seen) - _SHOWN} more" if len(seen) > _SHOWN else ""
        return f"{absent.format(text=repr(name.text))}: {', '.join(seen[:_SHOWN]) or nothing}{more}"


def _named(call: HookCall) -> str:
    """All names by which a filter can ask for a hook."""
    return " ".join(filter(None, (call.label, call.chain, call.function, call.module and f"[{call.module}]")))
