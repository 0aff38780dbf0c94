"""One packet's walk, line by line: columns that are the same at every hook point of the packet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from harness.netfilter import VerdictKind, errno_name
from harness.outcome import describe
from harness.outcome import registration as registrations
from harness.outcome.pairing import PacketPair, PartPair, TraversalPair
from harness.outcome.types import NF_HOOK_SLOW, OURS, HookCall, Registration

__all__ = ("packet_tree", "registration_tree")

_VERDICT_STYLE = {VerdictKind.ACCEPT: "green", VerdictKind.DROP: "red", VerdictKind.STOLEN: "magenta", VerdictKind.QUEUE: "yellow"}
_MATCH = Text("✓", "green")
_BRANCH = "│  "
_HEADER = ("slot", "priority", "hook", "verdict", "ns")


@dataclass(frozen=True, slots=True)
class _Row:
    """One call.

    :param cells: as in ``_HEADER``
    :param model: what the model says of it, beside the call
    :param notes: by which rule it decided, and what it made of the packet, in words
    """

    cells: tuple[Text, ...]
    model: Text
    notes: tuple[str, ...] = ()


def packet_tree(pair: PacketPair, width: int, began: int | None = None) -> Iterator[Text]:
    """A packet's summary, each hook point with its calls, and its fate; each line with its mark where there is a prediction.

    ✓ stands beside a part about which nothing differs, ✗ and what the model says beside one about which something does; a hook point's
    line has ✗ only.

    :param width: columns of the terminal; in a narrow one the symbol of our own hooks, always the same, is left out
    :param began: for the time of day, as of an outcome
    """
    for short in (False, True):
        rows = [list(_rows(point, pair.compared, short)) for point in pair.traversals]
        layout = _Layout.of([row for point in rows for row in point], tight=short)
        if layout.model + len("model") <= width:
            break
    yield Text.assemble((pair.name, "bold cyan"), "  ", pair.either.packet, (f"  {when}" if (when := _when(pair, began)) else "", "dim"))
    if any(rows):
        yield Text.assemble(layout.line([Text(name, "dim") for name in _HEADER]), ("model" if pair.compared else "", "dim"))
    for point, calls in zip(pair.traversals, rows, strict=True):
        yield _beside(*_point(point, pair.compared), layout.model)
        if point.observed and point.observed.missed:
            yield Text.assemble(_BRANCH, ("old array: ", "bold yellow"), registrations.missed(point.observed.missed))
        if point.observed and point.observed.changed:
            yield Text.assemble(_BRANCH, ("on its way here: ", "dim"), describe.changed(point.observed.changed))
        for row in calls:
            yield Text.assemble(layout.line(row.cells), row.model)
            for note in row.notes:
                yield Text.assemble(_BRANCH, " " * (layout.hook - len(_BRANCH)), "↳ ", note)
        yield _beside(*_returned(point, pair.compared), layout.model)
    yield _beside(*_fate(pair), layout.model)


def registration_tree(registration: Registration, began: int | None = None) -> Iterator[Text]:
    """What was registered or unregistered, by whom, and the array before and after.

    :param began: for the time of day, as of an outcome
    """
    gone = registration.hook if registration.what == "unregistered" else None
    yield Text.assemble((f"registration {registration.number}", "bold magenta"), "  ", registrations.headline(registration),
                        (f"  at {describe.moment(registration.time, began)}", "dim"))
    yield Text.assemble(_BRANCH, registrations.who(registration))
    if not registration.errno:
        yield Text.assemble(_BRANCH, ("before: ", "dim"), registrations.array(registration.before, registration.slots_before, gone))
        yield Text.assemble(_BRANCH, ("after:  ", "dim"), registrations.array(registration.after, registration.slots_after))
    yield Text.assemble("└─ ", (registrations.became(registration) or "nothing changed", "bold"))


def _when(pair: PacketPair, began: int | None) -> str:
    """``at 0.012345 s``: nothing beside a prediction."""
    when = "" if pair.compared else describe.when(pair.either, began)
    return f"at {when}" if when else ""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Widths of the columns of ``_HEADER``.

    :param middle: of hook and verdict together, the verdict to the right: long names mostly have short ones
    """

    widths: tuple[int, ...]
    middle: int

    @classmethod
    def of(cls, rows: Sequence[_Row], *, tight: bool) -> _Layout:
        cells = [[len(cell) for cell in row.cells] for row in rows] + [[len(name) for name in _HEADER]]
        widths = tuple(max(column) for column in zip(*cells, strict=True))
        return cls(widths, max(row[2] + 2 + row[3] for row in cells) if tight else widths[2] + 2 + widths[3])

    @property
    def model(self) -> int:
        """Where the model's column begins."""
        return len(_BRANCH) + self.widths[0] + self.widths[1] + self.middle + self.widths[4] + 8

    @property
    def hook(self) -> int:
        """Where the hook's column begins."""
        return len(_BRANCH) + self.widths[0] + self.widths[1] + 4

    def line(self, cells: Sequence[Text]) -> Text:
        slot, priority, hook, verdict, ns = cells
        loose = self.widths[2] + 2 + self.widths[3] == self.middle
        before = self.widths[2] + 2 if loose else self.middle - len(verdict)
        return Text.assemble(
            _BRANCH, " " * (self.widths[0] - len(slot)), slot, "  ", " " * (self.widths[1] - len(priority)), priority, "  ",
            hook, " " * (before - len(hook)), verdict, " " * (self.middle - before - len(verdict)), "  ",
            " " * (self.widths[4] - len(ns)), ns, "  ",
        )


def _beside(line: Text, model: Text, at: int) -> Text:
    """A line, and what the model says of it in the model's column."""
    return Text.assemble(line, " " * max(at - len(line), 2), model) if model else line


def _mark(pair: PartPair[Any], prediction: str) -> Text:
    """✓ if nothing about the pair differs, else ✗ and what the model says in words."""
    return Text(f"✗ {prediction}", "bold red") if pair.differences else _MATCH


def _rows(point: TraversalPair, compared: bool, short: bool) -> Iterator[_Row]:
    for pair in point.calls:
        before, after = pair.predicted, pair.observed
        call = after or before
        if call is not None:
            for inner in call.calls:  # which have returned before it did
                yield _Row(_cells(inner, f"{call.index}.{inner.index}", short), Text(), _notes(inner))
            cells = _cells(call, str(call.index), short)
            if after is None:
                cells = (*cells[:3], Text("not called", "red"), Text())
            yield _Row(cells, _mark(pair, _predicted_call(before, after)) if compared else Text(), _notes(call))


def _notes(call: HookCall) -> tuple[str, ...]:
    return tuple(filter(None, (describe.decided_by(call), describe.changed_by(call))))


def _cells(call: HookCall, slot: str, short: bool) -> tuple[Text, ...]:
    return (
        Text(slot),
        Text(describe.priority(call.priority), "blue"),
        _hook(call, short),
        Text(str(call.verdict), _VERDICT_STYLE.get(call.verdict.kind, "yellow")),
        Text(f"{call.ns:,}" if call.ns is not None else "", "dim"),
    )


def _predicted_call(predicted: HookCall | None, observed: HookCall | None) -> str:
    """What the model says of a call that differs: its verdict, or else its place."""
    if predicted is None:
        return "not called"
    if observed is None or predicted.verdict != observed.verdict:
        return str(predicted.verdict)
    return f"slot {predicted.index}"


def _hook(call: HookCall, short: bool) -> Text:
    """Symbol and owner; before them ours by its name in the scenario, and nftables' by its chain's."""
    symbol, owner = call.function, f"[{call.module}]" if call.module else ""
    name = call.chain or (call.label or "?" if call.function == OURS else None)
    if name is None:
        return Text(f"{symbol} {owner}".rstrip())
    return Text.assemble((name, "bold"), (f" {owner}" if short else f" {symbol} {owner}", "dim"))


def _point(point: TraversalPair, compared: bool) -> tuple[Text, Text]:
    traversal = point.either
    loop = "" if traversal.loop == NF_HOOK_SLOW else f"  {traversal.loop}"
    line = Text.assemble("├─ ", (describe.point(traversal), "bold"), "  ", (traversal.netns, "cyan"), f"  {describe.devices(traversal)}",
                         (f"  mark {traversal.mark:#x}" if traversal.mark else "", "cyan"), (loop, "dim"),
                         ("" if traversal.generation is None else f"  generation {traversal.generation}", "dim"),
                         (f"  {answer}" if (answer := describe.answer(traversal)) else "", "yellow"))
    if compared and point.observed is None:
        line.append("  not crossed", "red")
    return line, _mark(point, _predicted_crossing(point)) if compared and point.differences else Text()


def _predicted_crossing(point: TraversalPair) -> str:
    """What the model says of a crossing that differs: whether there is one, or else each thing that differs about it."""
    if point.predicted is None or point.observed is None:
        return "crossed" if point.predicted else "not crossed"
    return ", ".join(one.predicted for one in point.differences)


def _returned(point: TraversalPair, compared: bool) -> tuple[Text, Text]:
    line = Text(f"{_BRANCH}did not run")
    if point.observed is not None:
        line = Text.assemble(_BRANCH, ("returned ", "dim"), describe.returned(point.observed.returned))
    if not compared or point.predicted is None:
        return line, Text()
    prediction = describe.returned(point.predicted.returned)
    return line, _mark(point.returned, prediction if point.observed else f"returns {prediction}")


def _fate(pair: PacketPair) -> tuple[Text, Text]:
    predicted, observed = pair.predicted, pair.observed
    if observed is None:
        told = "not seen" if pair.traversals else "not seen: it crosses no hook point"
        line = Text.assemble("└─ ", (told, "bold red" if pair.differences else ""))
        return line, _mark(pair, describe.fate(predicted.fate)) if predicted and pair.compared else Text()
    line = Text.assemble("└─ ", (describe.fate(observed.fate), "bold"))
    if observed.sent_errno:
        line.append(f", sendto() failed with {errno_name(observed.sent_errno)}")
    if observed.fate.reason:
        line.append(f"  {observed.fate.reason}", "dim")
    return line, _mark(pair, ", ".join(one.predicted for one in pair.differences)) if pair.compared else Text()
