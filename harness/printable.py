"""Text that may have come from anywhere, made safe for a terminal."""

from __future__ import annotations

__all__ = ("printable", "printable_line")

#: What moves the cursor, starts an escape sequence or turns the direction of writing: C0, DEL and C1, and Unicode's bidirectional
#: controls (UAX #9); and the halves of pairs that no encoding has.
_CONTROL = [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in (*_CONTROL, *range(0xD800, 0xE000))}
_IN_A_LINE = {code: escape for code, escape in _ESCAPES.items() if code != ord("\t")}
_IN_LINES = {code: escape for code, escape in _IN_A_LINE.items() if code != ord("\n")}


def printable(text: str) -> str:
    """*text* with control characters as escapes, line feeds and tabs apart."""
    return text.translate(_IN_LINES)


def printable_line(text: str) -> str:
    """*text* as one line: line feeds are escapes too."""
    return text.translate(_IN_A_LINE)
