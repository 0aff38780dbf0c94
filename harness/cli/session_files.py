"""The files that ``trace`` writes of a session beside what it prints. Each is made only if it was asked for, and imports what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.cli.sessions import Obeyed, Seen, head, tail
from harness.walks.filter import Filter

__all__ = ("contents",)


def contents(session: Seen, wanted: Filter | None, obeyed: Obeyed | None) -> Mapping[str, Callable[[], bytes]]:
    """What makes the content of each file, by its option.

    :param wanted: the filter that chose the packets
    """

    def pcapng() -> bytes:
        from harness.walks.pcapng import written  # noqa: PLC0415

        return written(session.shown)

    def html() -> bytes:
        from harness.cli.session_page import page  # noqa: PLC0415

        return page(session, wanted, obeyed).encode()

    def perfetto() -> bytes:
        from harness.walks.perfetto import written  # noqa: PLC0415

        about = {**head(session.facts, session.argv, wanted), **tail(session, obeyed)}
        return written(session.shown, about, session.reasons)

    return {"pcapng": pcapng, "html": html, "perfetto": perfetto}
