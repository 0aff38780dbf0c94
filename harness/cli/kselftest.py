"""``nfharness kselftest``."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path

import click

from harness.backends.session import made_ready
from harness.cli.options import Seconds, kernel_option, with_option
from harness.cli.say import say
from harness.cli.test import run_pytest
from harness.errors import UserError
from harness.host.progress import Progress
from harness.host.scratch import scratch
from harness.images.selftests import collection, limit, selftests, tests
from harness.images.specs import resolved
from harness.images.userland import userland

__all__ = ("command",)

_FILE = '''"""Written by nfharness kselftest."""

from pathlib import Path

import pytest

from harness.pytest_plugin.guest.kselftests import run


@pytest.mark.kernel
@pytest.mark.isolation("test")
@pytest.mark.parametrize("name", {names!r})
def test(name):
    run(Path(__file__).parent / "selftests" / {collection!r}, name, slow={slow!r}, limit_s={limit!r})
'''
#: A guest has hung if it lives longer than a test may, and this for the rest: its checks, the test's end.
_SLACK_S = 30
_NEVER_S = 1e9


@click.command("kselftest", context_settings={"ignore_unknown_options": True})
@kernel_option
@with_option
@click.option("--list", "listing", is_flag=True, help="Name the collection's tests and run none.")
@click.option("--deadline", type=Seconds(), metavar="SECONDS",
              help="When a test has failed if it has not ended, on a host with KVM; more where guests are slower. "
                   "[default: the collection's own, of its file 'settings']")
@click.argument("name", metavar="COLLECTION")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[TEST]... [PYTEST ARGUMENT]...")
def command(  # noqa: PLR0917 - click passes them by name
    spec: str, with_packages: tuple[str, ...], listing: bool, deadline: float | None, name: str, arguments: tuple[str, ...],
) -> None:
    """Run a kernel's own selftests in guests: nfharness kselftest net/netfilter nft_nat.sh -n 2.

    They are those of the kernel's own version, unmodified, each in a fresh guest; what they need compiled is compiled first. Results,
    reports and checks of the kernel's health are those of 'nfharness test': --ktap, --junitxml, --report-html …
    """
    progress = Progress()
    kernel, name = resolved(spec, progress), name.strip("/")
    source = selftests(kernel, progress)
    known = tests(source, name)
    if listing:
        say(*known)
        return
    wanted = [word for word in arguments if not word.startswith("-") and (word in known or (source / name / word).is_file())]
    # Before the first option stand tests; after it also what options are given.
    meant = [*takewhile(lambda word: not word.startswith("-"), arguments), *(word for word in arguments if word.endswith((".sh", ".py")))]
    if unknown := [word for word in meant if word not in wanted]:
        alike = get_close_matches(unknown[0], known, n=1)
        hint = f"{f'did you mean {alike[0]}? ' if alike else ''}nfharness kselftest {name} --kernel {spec} --list"
        raise UserError(f"{name} of {kernel.label} has no test {unknown[0]}", hint=hint)
    _, template = asyncio.run(made_ready(spec, progress, "bare", with_packages=with_packages))
    seconds = deadline or limit(source, name)
    text = _FILE.format(names=wanted or known, collection=name, slow=template.accelerator == "tcg",
                        limit=seconds and seconds * template.slowness)
    built = collection(source, name, userland(progress), progress)
    rest = [word for word in arguments if word not in wanted]
    sys.exit(_run(spec, built, text, with_packages, [f"--deadline={seconds + _SLACK_S if seconds else _NEVER_S}", *rest]))


def _run(spec: str, built: Path, tests_file: str, with_packages: Sequence[str], arguments: list[str]) -> int:
    with scratch("kselftest") as directory:
        shutil.copytree(built, directory / "selftests", symlinks=True)
        (directory / "test_kselftest.py").write_text(tests_file)
        (directory / "pytest.ini").write_text(f"[pytest]\npackages = {' '.join(with_packages)}\n")
        return run_pytest(["-p", "no:cacheprovider", "-c", str(directory / "pytest.ini"), "--rootdir", str(directory),
                           "-rs", "--kernel", spec, "--bare", *arguments, str(directory / "test_kselftest.py")])  # fmt: skip
