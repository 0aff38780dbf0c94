"""What a guest would compile, compiled at this host's own speed: emulated, that takes half of a template's time.

The userland's own BCC and Python do it in a chroot, as they would in the guest: same library, same headers, and so the same byte code.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from harness.host.paths import source_dir
from harness.host.store import remove_tree
from harness.images.layers import Layer
from harness.images.userland import in_chroot
from harness.vm.code import CodeArchive

__all__ = ("FILES", "programs", "ready_made")

FILES = ("trace/compiler.py", "vm/standin.c")
"""What compiles them, and what stands in for the guest's kernel meanwhile."""
_PROGRAMS = """
cd /build
gcc -shared -fPIC -o standin.so standin.c
RELEASE='{release}' LD_PRELOAD=/build/standin.so python3 -I compiler.py <source.c >code.json
"""


#: A module's byte code counts whatever its source's time is: the agent unpacks them anew.
_MODULES = """
cd /build
python3 -I -m compileall -q --invalidation-mode unchecked-hash harness
python3 -I -m zipfile -c code.zip harness
"""


def programs(source: str, layer: Layer, userland: Path, place: Path) -> dict[str, Any]:
    """The tracer's programs, compiled for a layer's kernel.

    :param source: as :attr:`harness.trace.tracer.Tracer.source`
    :param place: directory to work in; a log stays there
    :returns: as :func:`harness.trace.bytecode.compiled`
    :raises HostError: BCC does not compile them
    """
    with _upper(place / "programs") as upper:
        for name in FILES:
            shutil.copy(source_dir() / name, upper / "build")
        (upper / "build/source.c").write_text(source)
        in_chroot(userland / "root", upper, _PROGRAMS.format(release=layer.kernel.release), place / "programs.log",
                  what=f"compiling the tracer's programs for {layer.kernel.label}", above=layer.root)
        found: dict[str, Any] = json.loads((upper / "build/code.json").read_text())
    return found


def ready_made(code: CodeArchive, userland: Path, place: Path) -> bytes:
    """The archive of the project's code with the byte code of the userland's Python beside it.

    :param place: directory to work in; a log stays there
    :raises HostError: it does not compile
    """
    with _upper(place / "modules") as upper:
        ZipFile(BytesIO(code.data)).extractall(upper / "build")
        in_chroot(userland / "root", upper, _MODULES, place / "modules.log", what="compiling the project's code")
        return (upper / "build/code.zip").read_bytes()


@contextmanager
def _upper(upper: Path) -> Iterator[Path]:
    """A directory for what a chroot changes, with ``build`` to work in; it goes with what the chroot has left beside it."""
    try:
        (upper / "build").mkdir(parents=True)
        yield upper
    finally:
        for leftover in (upper.name, f".{upper.name}.merged", f".{upper.name}.work"):
            remove_tree(upper.with_name(leftover))
