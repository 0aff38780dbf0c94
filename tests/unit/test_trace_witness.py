"""What the kernel's log says of its probes."""

from __future__ import annotations

import pytest

from harness.trace.kmsg import LogLine
from harness.trace.witness import OFF, OVERRAN, Witness, switches


class Log:
    """The kernel's log."""

    def __init__(self) -> None:
        self.lost = False
        self.written: list[LogLine] = []

    def say(self, *texts: str) -> None:
        self.written += [LogLine(number, text) for number, text in enumerate(texts)]

    def lines(self) -> list[LogLine]:
        taken, self.written = self.written, []
        return taken


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def witness(log: Log, monkeypatch: pytest.MonkeyPatch) -> Witness:
    made = Witness.__new__(Witness)
    made.__dict__.update(_log=log, _off=False, _switched=False)
    monkeypatch.setattr(made, "_are_off", lambda: False)
    return made


def test_probes_that_stay_on_raise_no_doubt(witness: Witness, log: Log) -> None:
    witness.begin()
    log.say("kprobes: kprobe jump-optimization is disabled. All kprobes are based on software breakpoint.", "Kprobes globally unoptimized")
    assert witness.doubts() == ()


@pytest.mark.parametrize("said", [
    ("kprobes: Kprobes globally disabled",), ("Kprobes globally disabled",), ("Kprobes globally disabled", "Kprobes globally enabled"),
])
def test_probes_that_were_off_raise_doubt_though_they_are_back(witness: Witness, log: Log, said: tuple[str, ...]) -> None:
    witness.begin()
    log.say(*said)
    assert (witness.doubts(), witness.doubts()) == ((OFF,), (OFF,))


def test_what_was_before_is_no_doubt_unless_it_lasts(witness: Witness, log: Log) -> None:
    log.say("kprobes: Kprobes globally disabled")
    witness.begin()
    lasting = witness.doubts()
    log.say("kprobes: Kprobes globally enabled")
    witness.begin()
    assert (lasting, witness.doubts()) == ((OFF,), ())


def test_a_log_that_overran_raises_doubt(witness: Witness, log: Log) -> None:
    witness.begin()
    log.lost = True
    overran = witness.doubts()
    witness.begin()
    assert (overran, witness.doubts()) == ((OVERRAN,), ())


def test_what_a_process_writes_into_the_log_does_not_count() -> None:
    assert switches([LogLine(1, "Kprobes globally disabled", kernel=False), LogLine(2, "Kprobes globally enabled")]) == [True]
