"""What ``kselftest`` and ``suite`` share: which tests of other people's are meant, and pytest's run of a file that calls them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any

from harness.cli.test import run_pytest
from harness.errors import UserError
from harness.host.scratch import scratch

__all__ = ("chosen", "run", "tests_file")

#: A guest has hung if it lives longer than a test may, and this for the rest: its checks, the test's end.
_SLACK_S = 10
_NEVER_S = 1e9
_FILE = '''"""Written by nfharness {command}."""

from pathlib import Path

import pytest

from {module} import run


@pytest.mark.kernel
@pytest.mark.parametrize("name", {names!r})
def test(name, record_property):
    run(Path(__file__).parent / {place!r}, name, record_property, **{options!r})
'''


def tests_file(command: str, module: str, place: str, names: Sequence[str], **options: Any) -> str:
    """A file of tests that calls a module's ``run`` in the guest once for each name.

    :param command: nfharness's command that it is for
    :param place: the tests' directory beside the file
    :param options: what ``run`` takes beside
    """
    return _FILE.format(command=command, module=module, place=place, names=list(names), options=options)


def chosen(arguments: Sequence[str], known: Collection[str], directory: Path, whose: str, listing: str) -> tuple[list[str], list[str]]:
    """The tests that the arguments name, and pytest's arguments.

    :param known: names of tests
    :param directory: with the tests: another file there is a test, too, if it is named
    :param whose: what should have the tests, for an error: "net/netfilter of 6.12.118"
    :param listing: the command that lists them
    :raises UserError: there is no such test
    """
    wanted = [word for word in arguments if not word.startswith("-") and (word in known or _is_below(directory, word))]
    # Before the first option stand tests; after it also what options are given.
    meant = [*takewhile(lambda word: not word.startswith("-"), arguments), *(word for word in arguments if word.endswith((".sh", ".py")))]
    if unknown := [word for word in meant if word not in wanted]:
        alike = get_close_matches(unknown[0], known, n=1)
        raise UserError(f"{whose} has no test {unknown[0]}", hint=f"{f'did you mean {alike[0]}? ' if alike else ''}{listing}")
    return wanted, [word for word in arguments if word not in wanted]


def _is_below(directory: Path, word: str) -> bool:
    """Whether a word names a file in a directory; an option's value may be the path of any other file."""
    return not Path(word).is_absolute() and ".." not in Path(word).parts and (directory / word).is_file()


def run(command: str, spec: str, place: str, fill: Callable[[Path], object], text: str, *, deadline: float | None,
        with_packages: Sequence[str], arguments: Sequence[str]) -> int:
    """Run tests in guests whose kernel has nothing of nfharness; our exit status.

    :param command: nfharness's command that it is for: node IDs begin with ``test_`` and that
    :param spec: the kernel
    :param place: the directory for the tests beside the file that calls them
    :param fill: puts the tests there
    :param text: of :func:`tests_file`
    :param deadline: seconds that a test may take on a host with KVM; ``None`` for no limit
    :param arguments: pytest's
    """
    with scratch(command) as directory:
        fill(directory / place)
        file = directory / f"test_{command}.py"
        file.write_text(text)
        (directory / "pytest.ini").write_text(f"[pytest]\npackages = {' '.join(with_packages)}\n")
        return run_pytest(["-p", "no:cacheprovider", "-c", str(directory / "pytest.ini"), "--rootdir", str(directory), "-rs",
                           "--kernel", spec, "--bare", f"--deadline={deadline + _SLACK_S if deadline else _NEVER_S}",
                           *arguments, str(file)])  # fmt: skip

