"""A bundle: everything about one difference in one file, so that it can be run again, here or elsewhere."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.conformance import RULES
from harness.conformance.judge import Judgement
from harness.conformance.rule import Script
from harness.errors import UserError
from harness.outcome import codec
from harness.outcome.diff import Difference
from harness.outcome.types import Outcome
from harness.scenario.codec import from_json, to_json
from harness.scenario.reader import quote
from harness.scenario.steps import Scenario

__all__ = ("Bundle", "load", "save")

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Bundle:
    """:param rule: the id of the rule that found it; :param kernel: which one, with the hashes of its configuration and of the module"""

    rule: str
    scenario: Scenario
    kernel: Mapping[str, Any]
    observed: Outcome
    differences: tuple[Difference, ...]

    @property
    def script(self) -> Script:
        """The rule's script while it still has this scenario; else the scenario, of which only agreement with the model is expected."""
        rule = RULES.get(self.rule)
        found = next((script for script in rule.scripts if script.scenario == self.scenario), None) if rule else None
        return found or Script(self.scenario, ())


def save(directory: Path, rule: str, judgement: Judgement, kernel: Mapping[str, Any], console_tail: str) -> Path:
    """Write a bundle into a directory, which is made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", f"{judgement.script.scenario.name}-{kernel['release']}")
    path = directory / f"{time.strftime('%Y%m%d-%H%M%S')}-{slug}.json"
    comparison = judgement.comparison
    path.write_text(json.dumps({
        "bundle": _VERSION,
        "rule": rule,
        "kernel": dict(kernel),
        "scenario": to_json(judgement.script.scenario),
        "differences": [
            {"where": one.where, "predicted": one.predicted, "observed": one.observed, "explanation": one.explanation}
            for one in comparison.differences
        ],
        "predicted": codec.to_json(judgement.predicted),
        "observed": codec.to_json(judgement.observed),
        "console": console_tail,
    }, indent=1) + "\n")
    return path


def load(path: Path) -> Bundle:
    """:raises UserError: no bundle"""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", mend="name a file that check wrote") from None
    except ValueError:
        raise UserError(f"{path}: not JSON", mend="name a file that check wrote") from None
    if not isinstance(document, dict) or document.get("bundle") != _VERSION:
        found = quote(document.get("bundle")) if isinstance(document, dict) else "none"
        raise UserError(f"{path}: no bundle of version {_VERSION}, its version is {found}", mend="name a file that check wrote")
    try:
        return Bundle(
            rule=document["rule"],
            scenario=from_json(document["scenario"]),
            kernel=document["kernel"],
            observed=codec.from_json(document["observed"]),
            differences=tuple(Difference(**one) for one in document["differences"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: a bundle, but not whole: {error!r}", mend="name a file that check wrote") from None
