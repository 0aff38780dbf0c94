"""Files that a guest has packed into a tar, in a directory of the host's."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

from harness.host.store import remove_tree

__all__ = ("unpack",)


def unpack(packed: bytes, place: Path) -> int:
    """Unpack a tar into a directory, which takes the place of one of that name, and is whole as soon as it is there.

    :returns: how many files it has
    :raises OSError: it cannot be written
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".", dir=place.parent))
    try:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            number = len(archive.getmembers())
            archive.extractall(new, filter="data")
        new.chmod(0o755)
        remove_tree(place)
        new.rename(place)
    except BaseException:
        remove_tree(new)
        raise
    return number
