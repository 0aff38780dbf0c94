"""``nfharness kselftest``."""

from __future__ import annotations

import asyncio
import shutil
import sys
from functools import partial

import click

from harness.backends.sources import made_ready
from harness.cli.options import Seconds, kernel_option, with_option
from harness.cli.say import say
from harness.cli.suites import chosen, run, tests_file
from harness.host.progress import Progress
from harness.images.selftests import collection, limit, selftests, tests
from harness.images.specs import resolved
from harness.images.userland import userland

__all__ = ("command",)

_PLACE = "selftests"


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
    wanted, rest = chosen(arguments, known, source / name, f"{name} of {kernel.label}",
                          f"nfharness kselftest {name} --kernel {spec} --list")
    _, template = asyncio.run(made_ready(spec, progress, "bare", with_packages=with_packages))
    seconds = deadline or limit(source, name)
    text = tests_file("kselftest", "harness.pytest_plugin.guest.kselftests", f"{_PLACE}/{name}", wanted or known,
                      slow=template.accelerator == "tcg", limit_s=seconds and seconds * template.slowness)
    built = collection(source, name, userland(progress), progress)
    sys.exit(run("kselftest", spec, _PLACE, partial(shutil.copytree, built, symlinks=True), text, deadline=seconds,
                 with_packages=with_packages, arguments=["--isolation=test", *rest]))
