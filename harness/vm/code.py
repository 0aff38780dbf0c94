"""The project's own code as it goes into a guest."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from harness.host.paths import source_dir

__all__ = ("CodeArchive", "code_archive")

#: Rooms of the package that only the host needs.
_HOST_ONLY = {"host", "images", "vm", "boxes", "backends", "doctor", "bench", "cli", "explore", "mutate", "pytest_plugin/host",
              "pytest_plugin/report", "bootstrap.py", "__main__.py"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CodeArchive:
    """A zip of what a guest needs of the package.

    :param identity: hash of its content; equal code has equal identities
    """

    identity: str
    data: bytes


def code_archive() -> CodeArchive:
    """The code as it is on disk now."""
    package = source_dir()
    digest = hashlib.sha256()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(package.rglob("*")):
            relative = path.relative_to(package)
            if _HOST_ONLY & {str(relative), *map(str, relative.parents)} or path.suffix not in (".py", ".c", ".json"):
                continue
            content = path.read_bytes()
            digest.update(repr((str(relative), len(content))).encode() + content)
            archive.writestr(str(Path(package.name) / relative), content)
    return CodeArchive(digest.hexdigest()[:16], buffer.getvalue())
