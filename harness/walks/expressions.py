"""Whether a match of a rule's holds for a packet: ``nft --json --numeric``'s form of it, compared with what was recorded. Never a guess:
what cannot be told is told so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from operator import and_, eq, ge, gt, le, lshift, lt, ne, or_, rshift, xor
from typing import Any, NamedTuple

from harness.walks.here import Here, NotSeen, NotThere, Value, read, words

__all__ = ("Held", "Sets", "evaluated", "holds", "looked_up")

#: A set or a map of the rule's table, by its name; raises :class:`NotSeen` for one whose elements are not known.
Sets = Callable[[str], Sequence[Any]]

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {"==": eq, "!=": ne, "<": lt, ">": gt, "<=": le, ">=": ge}
_NUMBERS: Mapping[str, Callable[[int, int], int]] = {"&": and_, "|": or_, "^": xor, "<<": lshift, ">>": rshift}
_READ = ("meta", "ct", "payload")
_ANY = "*"


class Held(NamedTuple):
    """Whether something is true of a packet.

    :param truth: ``None`` where that cannot be told
    :param why: what was true instead, or why it cannot be told: ``tcp dport is 80``
    """

    truth: bool | None
    why: str


def holds(packet: Here, match: Mapping[str, Any], sets: Sets) -> Held:
    """Whether a ``match`` holds."""
    left, op = match["left"], match["op"]
    try:
        found = evaluated(packet, left)
        return Held(_compared(found, op, match["right"], sets), _told(left, found))
    except NotThere as missing:
        return Held(truth=False, why=str(missing))
    except NotSeen as unseen:
        return Held(truth=None, why=str(unseen))


def looked_up(packet: Here, lookup: Mapping[str, Any], sets: Sets) -> tuple[Held, Any]:
    """Whether a map has the packet's value for a key, and what it maps to; ``None`` if it is not known, or there is none.

    :param lookup: ``key`` and ``data``
    """
    try:
        found = evaluated(packet, lookup["key"])
        data = lookup["data"]
        elements = sets(data) if isinstance(data, str) else data["set"]
        told = _told(lookup["key"], found)
        for key, result in sorted(elements, key=lambda element: bool(_bare(element[0]) == _ANY)):
            if _is(found, _bare(key)):
                return Held(truth=True, why=told), result
        return Held(truth=False, why=told), None
    except NotThere as missing:
        return Held(truth=False, why=str(missing)), None
    except NotSeen as unseen:
        return Held(truth=None, why=str(unseen)), None


def evaluated(packet: Here, expression: Any) -> Value | tuple[Value, ...]:
    """The value of an expression; of a concatenation each part's.

    :raises NotSeen: it depends on what was not recorded
    :raises NotThere: the packet has no such thing
    """
    if isinstance(expression, int):
        return expression
    if isinstance(expression, str):
        return _constant(expression)
    (kind, parts), = expression.items()
    if kind in _READ:
        return read(packet, kind, parts)
    if kind == "concat":
        return tuple(_single(evaluated(packet, part)) for part in parts)
    if kind in _NUMBERS:
        return reduce(_NUMBERS[kind], (_number(evaluated(packet, part)) for part in parts))
    raise NotSeen(f"{_NAMES.get(kind, kind)} is not recorded")


#: Expressions of nft's whose names in JSON are not those of its language.
_NAMES = {"payload": "a place of the packet", "exthdr": "an extension header", "tcp option": "a TCP option"}


def _told(left: Any, found: Value | tuple[Value, ...]) -> str:
    """``tcp dport is 80``."""
    name = _name(left)
    return f"{name} is {' . '.join(_shown(_parts(left), found))}"


def _parts(left: Any) -> list[Any]:
    return list(left["concat"]) if isinstance(left, dict) and "concat" in left else [left]


def _shown(parts: Sequence[Any], found: Value | tuple[Value, ...]) -> list[str]:
    values = found if isinstance(found, tuple) else (found,)
    return [_word(part, value) for part, value in zip(parts, values, strict=True)]


def _word(part: Any, value: Value) -> str:
    """A value in the words of what it was read of; of some bits of that, too."""
    masked = isinstance(part, dict) and next(iter(part)) in _NUMBERS
    said = words(_name(next(iter(part.values()))[0] if masked else part), value)
    return f"{value:#x}" if masked and said.isdigit() else said


def _name(left: Any) -> str:
    """An expression as a rule has it: ``tcp dport``, ``mark & 0xff``."""
    if not isinstance(left, dict):
        return f"{left:#x}" if isinstance(left, int) else str(left)
    (kind, parts), = left.items()
    if kind == "concat":
        return " . ".join(map(_name, parts))
    if kind in _NUMBERS and all(isinstance(part, int) for part in parts):
        return f"{reduce(_NUMBERS[kind], parts):#x}"
    if kind in _NUMBERS:
        return f" {kind} ".join(map(_name, parts))
    if kind == "payload":
        return f"{parts['protocol']} {parts['field']}"
    name = f"{kind} {parts['key']}"
    return name.removeprefix("meta ") if parts["key"] in ("mark", "iif", "oif", "iifname", "oifname") else name


def _compared(found: Value | tuple[Value, ...], op: str, right: Any, sets: Sets) -> bool:
    if op in ("in", "!") and not _names_a_set(right):
        # A field of bits, and whether one of them is set.
        some = bool(_number(found) & _mask(right))
        return some if op == "in" else not some
    if _names_a_set(right) or isinstance(right, dict):
        elements = sets(right) if isinstance(right, str) else right.get("set", [right])
        within = any(_is(found, _bare(element)) for element in elements)
        return within if op in ("==", "in") else not within
    if isinstance(found, str) and op in ("==", "!="):
        return _is(found, right) is (op == "==")
    wanted: Any = _mask(right) if isinstance(found, int) else _constant(right)
    if type(found) is not type(wanted):
        raise NotSeen(f"{right} is not understood")
    return _ORDERS[op](found, wanted)


def _names_a_set(right: Any) -> bool:
    return isinstance(right, str) and right.startswith("@")


def _bare(element: Any) -> Any:
    """An element of a set without what nft tells beside it: its counter, its time-out."""
    return element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element


def _is(found: Value | tuple[Value, ...], element: Any) -> bool:
    """Whether a value is an element, or in the range or below the prefix that the element is."""
    if element == _ANY:
        return True
    if isinstance(found, tuple):
        return all(_is(part, one) for part, one in zip(found, element["concat"], strict=True))
    if isinstance(element, dict) and ("range" in element or "prefix" in element):
        return _within(found, element)
    if isinstance(found, str):
        literal = element.replace("\\*", _ANY)
        return found.startswith(element[:-1]) if element.endswith(_ANY) and literal == element else found == literal
    wanted = _mask(element) if isinstance(found, int) else _constant(element)
    return found == wanted


def _within(found: Value, element: Mapping[str, Any]) -> bool:
    if "prefix" in element:
        network = ip_network(f"{element['prefix']['addr']}/{element['prefix']['len']}", strict=False)
        return isinstance(found, IPv4Address | IPv6Address) and found in network
    low, high = (_constant(end) if isinstance(end, str) else end for end in element["range"])
    if type(low) is not type(found) or type(high) is not type(found):
        raise NotSeen(f"a range from {low} to {high} is not understood")
    return bool(low <= found <= high)  # type: ignore[operator]  # all of one type


def _mask(right: Any) -> int:
    """Bits that are listed, or joined by ``|``.

    :raises NotSeen: they are no numbers
    """
    bits = right.get("|", right) if isinstance(right, dict) else right
    if isinstance(bits, list):
        return reduce(or_, map(_mask, bits), 0)
    return _number(bits)


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise NotSeen(f"{value} is no number")
    return value


def _constant(text: Any) -> Value:
    """An address, or else a name."""
    try:
        return ip_address(text)
    except ValueError:
        return str(text)


def _single(value: Value | tuple[Value, ...]) -> Value:
    if isinstance(value, tuple):
        raise NotSeen("a concatenation in another is not understood")
    return value
