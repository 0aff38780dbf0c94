"""How a guest ended, for a program that started it through the command line: a small JSON file."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import EmulatorFailed, HostError, KernelDied, NfharnessError
from harness.host.store import write_whole
from harness.vm import console
from harness.vm.guest import Guest, VirtualGuest

__all__ = ("Ending", "read", "recorded")

_DIAGNOSIS_S = 8
_CONSOLE_LINES = 200


@dataclass(slots=True)
class Ending:
    """What is known when a guest is gone.

    :param status: of the process that ran in it, as a shell says it; ``None`` if it did not end
    :param died: why the guest died; ``None`` if it lived
    :param taken: what this host or QEMU itself did to it; ``None`` if neither did anything
    :param console: the last lines of its console, from the one on that says why it died
    :param see: where all of it is, or why it is nowhere
    """

    status: int | None = None
    died: str | None = None
    taken: str | None = None
    console: str = ""
    see: str = ""


@asynccontextmanager
async def recorded(guest: Guest, file: Path) -> AsyncIterator[Ending]:
    """Write *file* when the block ends. If it is interrupted, the guest is made to say first what its tasks wait for.

    An interrupt that reaches the loop instead, which cancels every task, leaves nobody to ask the guest.
    """
    shown = guest.qemu.console if isinstance(guest, VirtualGuest) else None
    ending = Ending()
    try:
        yield ending
    except KernelDied as error:
        ending.died = error.message
        raise
    except EmulatorFailed as error:
        ending.taken = error.message
        raise
    except KeyboardInterrupt:
        with suppress(NfharnessError, OSError):
            await guest.call("harness.guest.health:show_tasks", deadline_s=_DIAGNOSIS_S)
        raise
    finally:
        if shown:
            ending.console, ending.see = console.tail(shown.text(), _CONSOLE_LINES), shown.see
            if ending.died and isinstance(guest, VirtualGuest):
                ending.console = guest.decoded(ending.console)
        try:
            # Without its directory, whose owner has gone, nobody reads it: made anew here, that would be left behind.
            write_whole(file, json.dumps(asdict(ending)), make_parent=False)
        except (HostError, OSError):
            if ending.status is not None:  # else what ended the block is what must be told
                raise


def read(file: Path) -> Ending | None:
    """What a file tells; ``None`` if there is none (yet)."""
    try:
        return Ending(**json.loads(file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
