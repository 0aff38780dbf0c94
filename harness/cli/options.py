"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from harness.backends.names import Backend, backend_name, has_its_kernel
from harness.images.kernels import DEFAULT, DEFAULT_FLAVOUR, catalogue_at_hand

if TYPE_CHECKING:
    from harness.conformance.matrix import Target

__all__ = ("Seconds", "backend_option", "bundle_argument", "complete_kernel", "files_option", "json_option", "kernel_option",
           "kernels_option", "reference_options", "targets", "with_option")


class Seconds(click.FloatRange):
    """More than none, and not without end: an option's time."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert an option's text; refuse infinity and NaN."""
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return seconds


def complete_kernel(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completions for the shell: series and versions that the catalogue at hand knows, trees that have been used, and directories."""
    from harness.images.kernel_tree import built_specs  # noqa: PLC0415 - not before something is to be completed
    from harness.images.layers import trees_here  # noqa: PLC0415

    if "/" in incomplete or incomplete.startswith((".", "~")):
        return [CompletionItem(incomplete, type="dir")]
    known = catalogue_at_hand()
    series = {f"{kernel.series}{'' if kernel.flavour == DEFAULT_FLAVOUR else f'-{kernel.flavour}'}" for kernel in known}
    names = sorted(series) + [kernel.version for kernel in known] + [*built_specs(), *(kernel.tree for kernel in trees_here())]
    return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete)]


def kernel_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--kernel SPEC``."""
    return click.option(
        "--kernel",
        "spec",
        multiple=True,
        callback=_one_kernel,
        metavar="SPEC",
        shell_complete=complete_kernel,
        help="Series (6.12: its newest build; 6.12-rt, 6.12-amd64 for other flavours), Debian version, release, the directory "
        f"of a kernel that you have built, or 6.12+gcov: one that 'kernel build' has.  [default: {DEFAULT}]",
    )(function)


def _one_kernel(_context: click.Context, _parameter: click.Parameter, specs: tuple[str, ...]) -> str:
    """The kernel, where a command takes one: of two that are given none would be the right one."""
    if len(set(specs)) > 1:
        raise click.BadParameter(f"one kernel, and {', '.join(specs)} are {len(specs)}.")
    return specs[0] if specs else DEFAULT


def kernels_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--kernel SPEC``, several times.

    :param what: for the help, "Kernel to check"
    """
    help_ = f"{what}, as in run; may be given several times.  [default: {DEFAULT}]"
    return click.option("--kernel", "specs", multiple=True, metavar="SPEC", shell_complete=complete_kernel, help=help_)


async def targets(
    specs: Sequence[str], backend: Backend = "qemu", *, like: str | None = None, allowed: Sequence[str] = (), dead: bool = False,
    append: str = "",
) -> list[Target]:
    """The kernels asked for, or the default one, each once, ready, to be closed; what is wrong is told before any is waited for.

    :param like: the reference of their profiles
    :param allowed: fields of their profiles that may depart
    :param dead: kernels that die before a guest is ready are among them
    :param append: more for a fresh guest's kernel command line
    """
    from harness.conformance.matrix import target  # noqa: PLC0415
    from harness.host.progress import Progress  # noqa: PLC0415
    from harness.images.specs import foresee  # noqa: PLC0415

    found: dict[str, Target] = {}
    progress = Progress()
    for spec in specs if not has_its_kernel(backend) else ():
        foresee(spec, progress)
    for spec in specs or (DEFAULT,):
        one = await target(spec, progress, backend, like=like, allowed=allowed, dead=dead, append=append)
        found.setdefault(one.kernel.label, one)
    return list(found.values())


class _BackendName(click.ParamType[str]):
    """What :func:`harness.backends.names.backend_name` takes."""

    name = "backend"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        return "qemu|vagrant|local|ssh=HOST"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """A backend's name."""
        try:
            return backend_name(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """The names, and how that of a machine begins."""
        return [CompletionItem(name) for name in ("qemu", "vagrant", "local", "ssh=") if name.startswith(incomplete)]


def backend_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--backend``."""

    @wraps(function)
    def checked(*arguments: Any, **named: Any) -> Any:
        given = any(click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ("spec", "specs"))
        if given and has_its_kernel(named["backend"]):
            raise click.UsageError(f"--kernel chooses a kernel, and --backend {named['backend']} is the one that runs there.")
        return function(*arguments, **named)

    return click.option(
        "--backend",
        type=_BackendName(),
        default="qemu",
        show_default=True,
        envvar="NFHARNESS_BACKEND",
        help="qemu: a fresh guest; vagrant: the machine of that kernel that 'vagrant up' has started; local: the kernel of this very "
             "machine, which may not survive it; ssh=HOST: that of a machine which ssh reaches, nor may that (ssh=HOST:/PATH: its "
             "Python is there).  [env: NFHARNESS_BACKEND]",
    )(checked)


def _complete_package(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from harness.errors import HostError  # noqa: PLC0415 - not before something is to be completed
    from harness.images import archive  # noqa: PLC0415

    try:
        return sorted(archive.names(incomplete)) if incomplete else []
    except (HostError, OSError):
        return []


def with_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--with PACKAGE``, several times."""
    return click.option(
        "--with", "with_packages", multiple=True, metavar="PACKAGE", shell_complete=_complete_package,
        help="Have this package of Debian's in the guest, too, with what it needs: fetched and installed once, then kept. Repeatable.",
    )(function)


def append_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--append TEXT``."""
    return click.option("--append", default="", metavar="TEXT",
                        help="More for the kernel's command line, slub_debug=FZP: a guest is booted with it, and kept for the next "
                             "time.")(function)


def files_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--file FILE``, several times."""
    return click.option("--file", "files", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
                        help="Copy FILE into COMMAND's directory in the guest first. Repeatable.")(function)


def _complete_reference(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from harness.conformance import reference  # noqa: PLC0415

    return [name for name in reference.names() if name.startswith(incomplete)]


def _complete_field(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from harness.conformance import reference  # noqa: PLC0415

    return [name for name in reference.FIELDS if name.startswith(incomplete)]


def reference_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--like REFERENCE`` and ``--allow-profile FIELD``, several times."""
    like = click.option(
        "--like", metavar="REFERENCE", shell_complete=_complete_reference,
        help="What the kernel's profile is compared with: a series, or a file of 'profile --record'.  [default: the kernel's series]")
    allowed = click.option(
        "--allow-profile", "allowed", multiple=True, metavar="FIELD", shell_complete=_complete_field,
        help="Let this field of the profile depart from the reference; may be given several times.")
    return like(allowed(function))


def _complete_bundle(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completions for the shell: files; where nothing is typed yet the bundles that there are, the newest first."""
    from harness.host.paths import run_dir  # noqa: PLC0415 - not before something is to be completed

    written = sorted((run_dir() / "bundles").glob("*.json"), reverse=True)
    return [CompletionItem(str(bundle)) for bundle in written] if written and not incomplete else [CompletionItem(incomplete, type="file")]


def bundle_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """``BUNDLE``."""
    return click.argument("bundle", type=click.Path(path_type=Path), shell_complete=_complete_bundle)(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")(function)
