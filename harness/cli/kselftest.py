"""``nfharness kselftest``."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from harness.cli.options import kernel_option
from harness.cli.test import exit_status
from harness.errors import UserError
from harness.vm.progress import Progress
from harness.vm.selftests import collection, scripts, selftests
from harness.vm.session import made_ready

__all__ = ("command",)

_FILE = '''"""Written by nfharness kselftest."""

from pathlib import Path

import pytest

from harness.pytest_plugin.kselftests import run


@pytest.mark.kernel
@pytest.mark.isolation("test")
@pytest.mark.parametrize("script", {scripts!r})
def test(script):
    run(Path(__file__).parent / "selftests" / {name!r}, script, slow={slow!r})
'''


@click.command("kselftest", context_settings={"ignore_unknown_options": True})
@kernel_option
@click.option("--list", "listing", is_flag=True, help="Name the collection's tests and run none.")
@click.option("--deadline", type=float, default=60, show_default=True, metavar="SECONDS",
              help="When a test's guest counts as hung, on a host with KVM; more where guests are slower.")
@click.argument("name", metavar="COLLECTION")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[TEST]... [PYTEST ARGUMENT]...")
def command(spec: str, listing: bool, deadline: float, name: str, arguments: tuple[str, ...]) -> None:
    """Run a kernel's own selftests in guests: nfharness kselftest net/netfilter nft_nat.sh -n 2.

    They are those of the kernel's own version, unmodified, each in a fresh guest; shell tests only: nothing is compiled. Results,
    reports and checks of the kernel's health are those of 'nfharness test': --ktap, --junitxml, --report-html …
    """
    progress = Progress()
    kernel, template = asyncio.run(made_ready(spec, progress))
    source = selftests(kernel, progress)
    known = scripts(source, name)
    if listing:
        click.echo("\n".join(known))
        return
    wanted = [word for word in arguments if not word.startswith("-") and (source / name / word).is_file()]
    if unknown := [word for word in arguments if word.endswith((".sh", ".py")) and word not in wanted]:
        raise UserError(f"{name} of {kernel.label} has no test {unknown[0]}", mend=f"nfharness kselftest {name} --list")
    rest = [word for word in arguments if word not in wanted]
    text = _FILE.format(scripts=wanted or known, name=name, slow=template.accelerator == "tcg")
    sys.exit(_run(spec, source, name, text, [f"--deadline={deadline}", *rest]))


def _run(spec: str, source: Path, name: str, tests: str, arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="nfharness-kselftest-") as text:
        directory = Path(text)
        collection(source, name, directory / "selftests")
        (directory / "test_kselftest.py").write_text(tests)
        (directory / "pytest.ini").write_text("[pytest]\n")
        pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", str(directory / "pytest.ini"),
                  "--rootdir", str(directory), "--kernel", spec, *arguments, str(directory / "test_kselftest.py")]
        return exit_status(subprocess.run(pytest, check=False).returncode)
