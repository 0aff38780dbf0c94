"""The tracer's programs for a kernel that ran before us: its machine compiles them, and this host keeps them for the next session.

BCC takes about a second for them, and half a minute where the processor is emulated. Nothing of it stays on the machine.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import HostError
from harness.host.paths import cache_dir, source_dir
from harness.host.store import altered, building, checked, discard, files_hash, has_checksums
from harness.vm.guest import Guest

__all__ = ("code_key", "programs")

_CODE = "code.json"
#: So many are kept, the newest: where the kernel places itself at random, addresses in the source make those of earlier boots useless.
_MOST = 8
#: An emulated machine with others at work takes minutes.
_DEADLINE_S = 240


async def programs(guest: Guest, source: str, release: str) -> dict[str, Any]:
    """The byte code of the tracer's programs.

    It is kept by all that it depends on: their source, the kernel's build, the machine's libbcc, and the tracer that uses it.

    :param source: as :attr:`harness.trace.tracer.Tracer.source`
    :param release: of the machine's kernel
    :returns: as :func:`harness.trace.bytecode.compiled`
    :raises GuestError: BCC is missing there, or does not compile them
    """
    identity = hashlib.sha256(source.encode())
    identity.update(await guest.call("harness.guest.tracing:compiler"))
    path = cache_dir() / "programs" / f"{release}_{identity.hexdigest()[:16]}_{code_key()}"
    text = _kept(path)
    if text is None:
        text = await guest.call("harness.guest.tracing:byte_code", deadline_s=_DEADLINE_S)
        _keep(path, text)
    found: dict[str, Any] = json.loads(text)
    return found


def code_key() -> str:
    """Hash of the tracer's code: byte code that was kept for other code is stale."""
    return files_hash([file for file in (source_dir() / "trace").iterdir() if file.is_file()])


def _kept(path: Path) -> bytes | None:
    """What was kept as *path*, if it is whole: the kernel's verifier cannot tell what one changed byte makes of a record."""
    try:
        checked(path)
        return None if altered(path) or not has_checksums(path) else (path / _CODE).read_bytes()
    except (OSError, HostError):
        return None


def _keep(path: Path, text: bytes) -> None:
    """Keep it, if that is possible: a full disk, or a cache that another user owns, costs the next session its time and nothing else."""
    with suppress(OSError, HostError):
        if path.exists():  # damaged
            discard(path)
        with building(path) as new:
            if new:
                (new / _CODE).write_bytes(text)
        for older in sorted(path.parent.glob("[!.]*"), key=lambda one: one.stat().st_mtime)[:-_MOST]:
            discard(older)
