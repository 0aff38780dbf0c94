"""The tracer's programs, compiled at this host's own speed for a guest's kernel: emulated, that takes half of a template's time.

BCC compiles them, the userland's own, as it would in the guest: same library, same headers, and so the same byte code.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from harness.host.paths import source_dir
from harness.host.store import remove_tree
from harness.images.layers import Layer
from harness.images.userland import in_chroot

__all__ = ("FILES", "bytecode")

FILES = ("trace/compiler.py", "vm/standin.c")
"""What compiles them, and what stands in for the guest's kernel meanwhile."""
_SCRIPT = """
cd /build
gcc -shared -fPIC -o standin.so standin.c
RELEASE='{release}' LD_PRELOAD=/build/standin.so python3 -I compiler.py <source.c >code.json
"""


def bytecode(source: str, layer: Layer, userland: Path, place: Path) -> dict[str, Any]:
    """Compile the programs for a layer's kernel.

    :param source: as :attr:`harness.trace.tracer.Tracer.source`
    :param place: directory to work in; ``bytecode.log`` stays there
    :returns: as :func:`harness.trace.bytecode.compiled`
    :raises HostError: BCC does not compile them
    """
    upper = place / "bytecode"
    try:
        (upper / "build").mkdir(parents=True)
        for name in FILES:
            shutil.copy(source_dir() / name, upper / "build")
        (upper / "build/source.c").write_text(source)
        in_chroot(userland / "root", upper, _SCRIPT.format(release=layer.kernel.release), place / "bytecode.log",
                  what=f"compiling the tracer's programs for {layer.kernel.label}", above=layer.root)
        found: dict[str, Any] = json.loads((upper / "build/code.json").read_text())
    finally:
        for leftover in ("bytecode", ".bytecode.merged", ".bytecode.work"):
            remove_tree(place / leftover)
    return found
