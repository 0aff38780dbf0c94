"""The project's own code as it goes into a guest."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from harness.vm.paths import source_dir

__all__ = ("CodeArchive", "code_archive", "files_hash")

#: Rooms of the package that only the host needs.
_HOST_ONLY = ("vm", "cli", "explore", "__main__.py")


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
            if relative.parts[0] in _HOST_ONLY or path.suffix not in (".py", ".c", ".json"):
                continue
            content = path.read_bytes()
            digest.update(repr((str(relative), len(content))).encode() + content)
            archive.writestr(str(Path(package.name) / relative), content)
    return CodeArchive(digest.hexdigest()[:16], buffer.getvalue())


def files_hash(paths: list[Path]) -> str:
    """Hash of some files' names and contents."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
