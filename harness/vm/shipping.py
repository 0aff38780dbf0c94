"""A kernel's template and all that its guests need as one file, for another machine with the same QEMU: a farm, a CI cache.

The file is a tar, compressed with zstd, whose name ends in the digest of its content. First in it is ``manifest.json``, then come entries
of the cache as they are there. What is unpacked becomes part of the cache one whole entry at a time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import HostError, UserError
from harness.host import process
from harness.host.paths import cache_dir
from harness.host.progress import Progress
from harness.host.scratch import scratch
from harness.host.store import altered, building, discard, keep, lock_of, locked, no_room, write_whole
from harness.images.kernels import Kernel, catalogue_file
from harness.images.kmodule import module_key
from harness.images.layers import layer_path
from harness.images.userland import userland_path
from harness.vm.acceleration import remembered
from harness.vm.qemu import processor_identity, qemu_identity, qemu_version
from harness.vm.template import Template, base_path, project_identity

__all__ = ("exported", "imported")

_MANIFEST, _SCHEMA = "manifest.json", 1
_SUFFIX = ".tar.zst"
_DIGITS = 16
_NAME = re.compile(rf".+-([0-9a-f]{{{_DIGITS}}}){re.escape(_SUFFIX)}")
_COMPRESS, _EXPAND = "zstd -q -T0 -3", "zstd -q -d"
_TIME_S = 1800


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a file holds, and where it can be used.

    :param project: of :func:`~harness.vm.template.project_identity`
    :param entries: entries of the cache, ``userland/17a776266b16``
    :param labels: the kernels
    :param qemu: version and digest of the program
    :param accelerator: ``kvm`` or ``tcg``
    :param processor: with KVM, what guests see of the host's
    """

    schema: int
    project: str
    entries: list[str]
    labels: list[str]
    qemu: list[str]
    accelerator: str
    processor: str


def exported(templates: Sequence[tuple[Kernel, Template]], directory: Path, progress: Progress) -> Path:
    """Write the file for some kernels' templates, all of one accelerator, to a directory; its path.

    :param templates: kernels and their templates, which are made
    :raises HostError: no room, or a program is missing
    """
    _need_zstd()
    kernels = list(dict.fromkeys(kernel for kernel, _ in templates))
    for _, template in templates:
        keep(template.state.with_name("template.json"))
    layers = [layer_path(kernel).name for kernel in kernels]
    modules = [name for layer in layers if (cache_dir() / (name := f"modules/{layer}_{module_key()}")).is_dir()]
    shared = [f"userland/{userland_path().name}", *(f"kernels/{layer}" for layer in layers), *modules]
    # A template with newer code is one, too, and the other machine looks for the name of the first.
    places = {f"templates/{one.state.parent.name}": f"templates/{base_path(one).name}" for _, one in templates}
    accelerator = templates[0][1].accelerator
    manifest = Manifest(_SCHEMA, project_identity(), [*shared, *places.values()], [kernel.label for kernel in kernels],
                        [qemu_version(), qemu_identity()], accelerator, processor_identity() if accelerator == "kvm" else "")
    name = "-".join(("nfharness", *(re.sub(r"[^\w.+-]", "_", kernel.release) for kernel in kernels)))
    partial = directory.absolute() / f".{name}.partial"
    try:
        with progress.step(f"writing {', '.join(manifest.labels)}", expected_s=60):
            _pack(manifest, [*shared, *places], [f"--transform=s,^{place}\\b,{name}," for place, name in places.items()], partial)
        return partial.rename(directory / f"{name}-{_digest(partial)[:_DIGITS]}{_SUFFIX}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_room(partial) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def _pack(manifest: Manifest, entries: Sequence[str], options: Sequence[str], file: Path) -> None:
    catalogue = catalogue_file()
    more = [str(catalogue.relative_to(cache_dir()))] if catalogue.exists() else []
    with scratch("export") as place:
        (place / _MANIFEST).write_text(json.dumps(asdict(manifest), indent=1))
        command = ["tar", "--force-local", "--sparse", f"--use-compress-program={_COMPRESS}", "--numeric-owner", *options, "-cf", str(file),
                   "-C", str(place), _MANIFEST, "-C", str(cache_dir()), *more, *entries]  # fmt: skip
        process.run(process.in_namespace(command), what=f"writing {file.name}", log=place / "export.log", timeout=_TIME_S)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def imported(file: Path, progress: Progress) -> tuple[Manifest, list[str]]:
    """Put what a file holds into the cache: its manifest, and the entries that were not there.

    :raises UserError: it is none of :func:`exported`'s, is not what its name says, or was made for another QEMU, processor or nfharness
    :raises HostError: no room, or the cache has another build of what the file's templates were made with
    """
    _need_zstd()
    with progress.step(f"reading {file.name}", expected_s=5):
        digest = _checked(file)
        manifest = _manifest(file)
    _refuse(manifest, file)
    if not _lacking(manifest):
        return manifest, []
    path = cache_dir() / "imports" / digest
    came: list[str] = []
    with building(path, waiting=lambda: progress.note(f"waiting for another import of {file.name}")) as new:
        if new:
            came = _unpack(file, manifest, new, progress)
    discard(path)
    return manifest, came


def _unpack(file: Path, manifest: Manifest, new: Path, progress: Progress) -> list[str]:
    with progress.step(f"unpacking {', '.join(manifest.labels)}", expected_s=30):
        command = ["tar", "--force-local", f"--use-compress-program={_EXPAND}", "--no-same-owner", "-xf", str(file)]
        process.run(process.in_namespace(command), what=f"unpacking {file.name}", log=new / "import.log", timeout=_TIME_S, cwd=new)
    wrong = [path for entry in manifest.entries for path in altered(new / entry)]
    if wrong:
        raise HostError(f"{file} is damaged: {wrong[0].relative_to(new)} is not as it was written", hint="export it again")
    if not catalogue_file().exists() and (new / "apt" / catalogue_file().name).is_file():
        write_whole(catalogue_file(), (new / "apt" / catalogue_file().name).read_text())
    came = []
    for entry in manifest.entries:
        target = cache_dir() / entry
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock_of(target)):
            if target.is_dir():
                if _sums(target) != _sums(new / entry) and not entry.startswith("templates/"):
                    raise HostError(f"the cache has another build of {entry} than {file.name}",
                                    hint="import it into an empty cache: NFHARNESS_CACHE=DIRECTORY, or 'nfharness image prune --all' first")
                continue
            (new / entry).rename(target)
            came.append(entry)
    return came


def _sums(entry: Path) -> Any:
    with suppress(OSError, ValueError):
        return json.loads((entry / ".sums.json").read_text())
    return None


def _lacking(manifest: Manifest) -> list[str]:
    return [entry for entry in manifest.entries if not (cache_dir() / entry).is_dir()]


def _checked(file: Path) -> str:
    """The digest that the file's name says, and that it has.

    :raises UserError: it has another
    """
    named = _NAME.fullmatch(file.name)
    if not named:
        raise UserError(f"{file} has not got the name that 'nfharness image export' gave it", hint="that ends in the content's digest")
    digest = _digest(file)[:_DIGITS]
    if digest != named[1]:
        raise UserError(f"{file} is damaged: its content has the digest {digest}", hint="fetch or export it again")
    return digest


def _manifest(file: Path) -> Manifest:
    with scratch("import") as place:
        command = ["tar", "--force-local", f"--use-compress-program={_EXPAND}", "--occurrence=1", "-xf", str(file.absolute()), _MANIFEST]
        try:
            process.run(process.bound(command), what=f"reading {file.name}", log=place / "import.log", timeout=_TIME_S, cwd=place)
            found = json.loads((place / _MANIFEST).read_text())
            schema = found["schema"]
            if schema == _SCHEMA:
                return Manifest(**found)
        except (process.ProgramFailed, ValueError, KeyError, TypeError):
            raise UserError(f"{file} is no file of 'nfharness image export'", hint="export it again") from None
    raise UserError(f"{file} has schema {schema}, and this nfharness reads {_SCHEMA}", hint="export it again with this nfharness")


def _refuse(manifest: Manifest, file: Path) -> None:
    """Look whether this machine and this nfharness can use a file.

    :raises UserError: they cannot
    """
    version, digest = manifest.qemu
    if digest != qemu_identity():
        same = "another build of the same version" if version == qemu_version() else qemu_version()
        raise UserError(f"{file.name} was saved by QEMU {version}, and this host has {same}",
                        hint="a saved guest needs the very QEMU that saved it: install that, or build here with 'nfharness image build'")
    if manifest.processor and manifest.processor != processor_identity():
        raise UserError(f"{file.name} was saved with KVM on {manifest.processor}, and this host is {processor_identity()}",
                        hint="a guest saved with KVM needs the same processor: build here with 'nfharness image build'")
    if manifest.project != project_identity():
        raise UserError(f"{file.name} was made by another version of nfharness: what its guests hold is not what this one's do",
                        hint="export it again with this version")
    proof = remembered()
    if proof and proof["accelerator"] != manifest.accelerator:
        raise UserError(f"{file.name} was saved with {manifest.accelerator}, and guests have {proof['accelerator']} on this host",
                        hint="build here with 'nfharness image build'")


def _need_zstd() -> None:
    if not shutil.which("zstd"):
        raise HostError("zstd is not installed", hint="apt-get install zstd")
