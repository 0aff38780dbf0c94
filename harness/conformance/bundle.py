"""A bundle: everything about one difference in one file, so that it can be run again, here or elsewhere."""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.conformance import RULES
from harness.conformance.coverage import core_lines
from harness.conformance.judge import Judgement
from harness.conformance.rule import Script
from harness.errors import HostError, UserError
from harness.host.paths import run_dir
from harness.outcome import codec
from harness.outcome.diff import Difference
from harness.outcome.types import Outcome
from harness.scenario.builtin import load as read_scenario
from harness.scenario.codec import from_json, to_json
from harness.scenario.reader import text_of
from harness.scenario.step import Scenario
from harness.walks.render import render_run

__all__ = ("EXPLORED", "Bundle", "finds", "load", "save")

EXPLORED = "explored"
"""Name of the scenarios that explore draws, and so part of the names of their bundles' files."""

_VERSION = 5
_HINT = "name a file that check, explore or minimise wrote, or a scenario"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle holds.

    :param rule: the id of the rule that found it, ``explore``, or of a mere scenario its name
    :param kernel: which one, with the hashes of its configuration and of the module; empty of a mere scenario
    :param observed: what it did; ``None`` if it died of it, or it was never run
    :param before: scenarios that must run before it in its guest: they harm the kernel
    """

    rule: str
    scenario: Scenario
    kernel: Mapping[str, Any]
    seed: int | None = None
    observed: Outcome | None = None
    differences: tuple[Difference, ...] = ()
    before: tuple[Scenario, ...] = ()

    @property
    def script(self) -> Script:
        """The rule's script while it still has this scenario; else the scenario, of which only agreement with the model is expected."""
        rule = RULES.get(self.rule)
        found = next((script for script in rule.scripts if script.scenario == self.scenario), None) if rule else None
        return found or Script(self.scenario, ())


def save(
    rule: str, found: Judgement | Scenario, kernel: Mapping[str, Any], console_tail: str, *, seed: int | None = None,
    before: Sequence[Scenario] = (),
) -> Path:
    """Write a bundle, below :func:`harness.host.paths.run_dir`.

    :param found: the scenario alone, of a kernel that died of it
    :param console_tail: its last words; what it said when it warned is put before them
    :param seed: what the scenario was drawn with, if it was
    :param before: as :class:`Bundle` has it
    :raises HostError: it cannot be written
    """
    scenario = found if isinstance(found, Scenario) else found.script.scenario
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", f"{scenario.name}-{kernel['release']}")
    head = {"bundle": _VERSION, "rule": rule, "core_lines": core_lines(rule), "seed": seed, "kernel": dict(kernel),
            "before": list(map(to_json, before)), "scenario": to_json(scenario)}
    judged = {} if isinstance(found, Scenario) else _judged(found, str(kernel["release"]))
    log = () if isinstance(found, Scenario) else found.observed.log
    text = json.dumps({**head, **judged, "console": "\n".join((*log, console_tail)).strip("\n")}, indent=1) + "\n"
    directory = run_dir() / "bundles"
    try:
        return _written(directory, slug, text)
    except OSError as error:
        raise HostError(f"{directory}: no bundle could be written there: {error.strerror}",
                        hint="make room, or point NFHARNESS_STATE at a larger disk") from None


def _written(directory: Path, slug: str, text: str) -> Path:
    """A new file, which is there as a whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=time.strftime(".%Y%m%d-%H%M%S-"), suffix=f"-{slug}.json", dir=directory)
    part = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        return part.rename(part.with_name(part.name.removeprefix(".")))
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _judged(judgement: Judgement, release: str) -> dict[str, Any]:
    comparison = judgement.comparison
    shown = Console(file=io.StringIO(), width=140, color_system=None)
    render_run(shown, f"{judgement.script.scenario.name} on {release}", comparison)
    return {
        "differences": [
            {"where": one.where, "predicted": one.predicted, "observed": one.observed, "explanation": one.explanation}
            for one in comparison.differences
        ],
        "predicted": codec.to_json(judgement.predicted),
        "observed": codec.to_json(replace(judgement.observed, log=())),  # it is in the console
        "trace": shown.file.getvalue().splitlines(),  # type: ignore[attr-defined]
    }


def load(path: Path) -> Bundle:
    """A bundle; or a scenario's file, which is as much of one.

    :raises UserError: it is neither
    """
    try:
        text = text_of(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", hint=_HINT) from None
    except ValueError:
        raise UserError(f"{path}: not text", hint=_HINT) from None
    try:
        document = json.loads(text)
    except RecursionError:
        raise UserError(f"{path}: nested too deeply", hint=_HINT) from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {str(error).partition(';')[0]}", hint=_HINT) from None
    if isinstance(document, dict) and "bundle" not in document and "steps" in document:
        scenario = read_scenario(str(path))
        return Bundle(scenario.name, scenario, {})
    if not isinstance(document, dict) or document.get("bundle") != _VERSION:
        version = document.get("bundle") if isinstance(document, dict) else None
        if isinstance(version, int):
            raise UserError(f"{path}: a bundle of version {version}, and this nfharness reads version {_VERSION}",
                            hint="use the nfharness that wrote it")
        raise UserError(f"{path}: no bundle", hint=_HINT)
    try:
        rule, kernel = document["rule"], document["kernel"]
        if not isinstance(rule, str) or not isinstance(kernel, dict):
            raise TypeError("rule or kernel")
        return Bundle(
            rule=rule,
            scenario=from_json(document["scenario"]),
            kernel=kernel,
            seed=document["seed"],
            observed=codec.from_json(document["observed"]) if "observed" in document else None,
            differences=tuple(Difference(**one) for one in document.get("differences", ())),
            before=tuple(map(from_json, document.get("before", ()))),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: a bundle, but not whole: {error!r}", hint=_HINT) from None


def finds() -> Iterator[tuple[str, Bundle | UserError]]:
    """What explore and minimise found here, the newest first, each scenario once: its file's name, and the bundle or why it is none."""
    seen: set[tuple[Scenario, ...]] = set()
    for path in sorted((run_dir() / "bundles").glob(f"*-{EXPLORED}-*.json"), reverse=True):
        try:
            bundle = load(path)
        except UserError as error:
            yield path.stem, error
            continue
        if bundle.rule == "explore" and (found := (*bundle.before, bundle.scenario)) not in seen:
            seen.add(found)
            yield path.stem, bundle
