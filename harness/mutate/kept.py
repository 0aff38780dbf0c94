"""What was found out about each mutant is kept, below :func:`harness.host.paths.run_dir`: a run that was cut off goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from harness.host.paths import run_dir
from harness.host.store import write_whole
from harness.vm.code import code_archive

__all__ = ("Kept", "MutantResult", "State")

State = Literal["caught", "survives", "unclear"]
"""``unclear``: nothing told, and something was inconclusive."""


@dataclass(frozen=True, slots=True)
class MutantResult:
    """What came of one mutant.

    :param by: the rule or the field of the profile that told first
    :param how: what was reported
    :param whole: whether all rules have run, if none has told
    :param ran: rules that were run
    :param load: of the host, when it ended, in processes for each processor
    """

    name: str
    state: State
    by: str = ""
    how: str = ""
    whole: bool = False
    ran: int = 0
    seconds: float = 0.0
    load: float = 0.0


class Kept:
    """Results with one kernel and the code as it is now.

    :param built: the directory of the kernel with the mutants
    """

    def __init__(self, built: Path) -> None:
        key = hashlib.sha256(f"{built.name} {code_archive().identity}".encode()).hexdigest()[:16]
        self.directory = run_dir() / "mutants" / key

    def verdict(self, name: str) -> MutantResult | None:
        """What is known of a mutant; nothing where the file is damaged, too."""
        try:
            return MutantResult(**json.loads(self._file(name).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, verdict: MutantResult) -> None:
        """Write a verdict.

        :raises HostError: the disk is full
        """
        write_whole(self._file(verdict.name), json.dumps(asdict(verdict), indent=1) + "\n")

    def baseline(self) -> dict[str, tuple[str, float]]:
        """What the rules came to without a mutant, by id: state and seconds; nothing where the file is damaged, too."""
        try:
            found = json.loads(self._file("none").read_text())
            return {str(rule): (str(state), float(seconds)) for rule, (state, seconds) in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def keep_baseline(self, found: dict[str, tuple[str, float]]) -> None:
        """Write what the rules came to without a mutant.

        :raises HostError: the disk is full
        """
        write_whole(self._file("none"), json.dumps(found, indent=1) + "\n")

    def forget(self, names: Iterable[str]) -> None:
        """What is known of some mutants."""
        for name in names:
            self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.directory / f"{name}.json"
