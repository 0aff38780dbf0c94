"""The kernel's log: what it warned of, by ``/dev/kmsg`` and its sequence numbers."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import GuestError
from harness.trace.kmsg import KernelMessages, LogLine

__all__ = ("KMEMLEAK", "WARNED", "KernelLog", "Splat", "leaks_in", "memory_leaks", "show_tasks", "splats",
           "taint", "taint_names", "warn_again")

_CLEAR_WARN_ONCE = Path("/sys/kernel/debug/clear_warn_once")
#: Where a kernel with kmemleak has its report.
KMEMLEAK, _LEAK_AGE_S = Path("/sys/kernel/debug/kmemleak"), 5.2
_LEAK = re.compile(r'unreferenced object 0x[0-9a-f]+ \(size (\d+)\):\n  comm "(.*?)"')
_TAINT = Path("/proc/sys/kernel/tainted")
_TAINT_LETTERS = "PFSRMBUDAWCIOELKXTNJ"
_OWN_TAINT = 1 << 12 | 1 << 13 | 1 << 18
#: The bit of a kernel that has warned.
WARNED = 1 << 9
_CUT = "------------[ cut here ]------------"
#: The line that names a splat; up to 7.0 ``CPU: … PID: … at`` came before the place of a warning, later the place comes first.
#: KASAN, KFENCE and KCSAN say ``BUG:``, lockdep ``WARNING:``; RCU's stalls and the watchdog's lockups have their own prefix.
_HEADLINE = re.compile(r"(?:rcu: |watchdog: |kernel )?(?P<kind>WARNING|BUG|Oops|INFO|UBSAN|general protection fault|"
                       r"Kernel panic - not syncing|refcount_t|kmemleak|unregister_netdevice)\b[:,]? ?(?P<rest>.*)")
#: Of kinds that also say what is nobody's fault, what is.
_FAULTS = {
    "INFO": re.compile(r"rcu|task .* blocked|.* self-detected stall"),
    "kmemleak": re.compile(r"\d+ new suspected"),
    "unregister_netdevice": re.compile(r"waiting for"),
}
_PLACE = re.compile(r"(?:^|at )(?P<file>[\w./-]+\.[ch]):\d+")


@dataclass(frozen=True, slots=True)
class Splat:
    """A warning, bug or oops.

    :param kind: ``WARNING``, ``BUG``, ``Oops`` …
    :param summary: the message that it came with, else the source file of a warning, else the whole line
    :param first_line: as the log has it
    """

    kind: str
    summary: str
    first_line: str


def splats(log: Iterable[LogLine]) -> Iterator[Splat]:
    """The splats in a log's lines: messages between ``cut here`` and the headline belong to it.

    What a process wrote to ``/dev/kmsg`` is no splat, and does not part one: a test may say there what it likes.
    """
    message: list[str] = []
    cut = False
    for line in (one.text for one in log if one.kernel):
        if line == _CUT:
            cut, message = True, []
            continue
        found = _HEADLINE.match(line)
        if found is None or (found["kind"] in _FAULTS and not _FAULTS[found["kind"]].match(found["rest"])):
            if cut:
                message.append(line)
            continue
        place = _PLACE.search(found["rest"])
        yield Splat(found["kind"], message[0] if message else place["file"] if place and found["kind"] == "WARNING" else line, line)
        cut, message = False, []


class KernelLog(KernelMessages):
    """What the kernel says from now on, and what it complains of."""

    def splats(self) -> list[Splat]:
        """The splats since the last call. The kernel writes a warning whole before it goes on."""
        return list(splats(self.lines()))


def taint() -> int:
    """What the kernel is tainted with, less what ``nfharness.ko`` itself does: out of tree, unsigned, a test."""
    return int(_TAINT.read_text()) & ~_OWN_TAINT


def taint_names(bits: int) -> str:
    """The letters that an oops has: ``W`` for a warning, ``D`` for a death (Documentation/admin-guide/tainted-kernels.rst)."""
    return "".join(letter for number, letter in enumerate(_TAINT_LETTERS) if bits >> number & 1)


def memory_leaks(file: Path = KMEMLEAK) -> list[str]:
    """What kmemleak takes for lost since the last call; nothing where the kernel has none.

    It scans twice: what is younger than five seconds it does not report (``MSECS_MIN_AGE`` in mm/kmemleak.c).

    :raises GuestError: the kernel has debugfs, and it is not mounted, so that whether it has kmemleak cannot be told
    :raises OSError: kmemleak is there, and is switched off
    """
    if not file.exists():
        if file.parent.exists() and not file.parent.is_mount():
            raise GuestError(f"{file.parent} is not mounted: whether the kernel has kmemleak cannot be told",
                             hint=f"mount -t debugfs debugfs {file.parent}")
        return []
    for seconds in (_LEAK_AGE_S, 0):
        file.write_text("scan")
        time.sleep(seconds)
    found = leaks_in(file.read_text())
    file.write_text("clear")
    return found


def leaks_in(text: str) -> list[str]:
    """kmemleak's report, an object a line: its size, and who made it."""
    return [f"{size} bytes that {comm} allocated" for size, comm in _LEAK.findall(text)]


def show_tasks() -> None:
    """Print to the console what every processor does and what blocked tasks wait for."""
    Path("/proc/sys/kernel/printk").write_text("8")
    for key in "lw":
        Path("/proc/sysrq-trigger").write_text(key)


def warn_again() -> None:
    """Let each ``WARN_ONCE`` warn once more. Without debugfs it does not; then a splat that is predicted is missed, never invented."""
    with contextlib.suppress(OSError):
        _CLEAR_WARN_ONCE.write_text("1")
