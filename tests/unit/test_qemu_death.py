"""Whose fault it is that QEMU has ended; and that what is not the kernel's is tried again."""

from __future__ import annotations

import asyncio
import signal

import pytest

from harness.errors import EmulatorFailed, HostError, KernelDied
from harness.host.again import tried_again
from harness.host.progress import Progress
from harness.vm.qemu import judged

PANIC = "BUG: kernel NULL pointer dereference\nKernel panic - not syncing: Fatal exception in interrupt"
#: What a guest says and lives on.
LIVES = "Out of memory: Killed process 170 (python3)\nBUG: workqueue lockup - pool cpus=0"


@pytest.mark.parametrize(("status", "said", "shown", "kind", "message"), [
    (0, "", PANIC, KernelDied, "the guest died: BUG: kernel NULL pointer dereference"),
    (0, "", "", KernelDied, "the guest died: it was switched off, or restarted"),
    (-signal.SIGABRT, "", PANIC, KernelDied, "the guest died: BUG: kernel NULL pointer dereference"),
    (-signal.SIGKILL, "", "", EmulatorFailed, "QEMU was killed by SIGKILL: that is this host's doing, not the kernel's"),
    (-signal.SIGKILL, "", LIVES, EmulatorFailed, "QEMU was killed by SIGKILL: that is this host's doing, not the kernel's"),
    (-signal.SIGKILL, "", PANIC, EmulatorFailed, "QEMU was killed by SIGKILL: that is this host's doing, not the kernel's"),
    (0, "qemu-system-x86_64: terminating on signal 15", PANIC, EmulatorFailed,
     "QEMU was killed by a signal: terminating on signal 15: that is this host's doing, not the kernel's"),
    (-35, "", "", EmulatorFailed, "QEMU was killed by signal 35: that is this host's doing, not the kernel's"),
    (1, "", PANIC, KernelDied, "the guest died: BUG: kernel NULL pointer dereference"),
    (-signal.SIGXCPU, "", "", EmulatorFailed, "QEMU was killed by SIGXCPU: that is this host's doing, not the kernel's"),
    (0, "qemu-system-x86_64: terminating on signal 15 from pid 7 (kill)", LIVES, EmulatorFailed,
     "QEMU was killed by a signal: terminating on signal 15 from pid 7 (kill): that is this host's doing, not the kernel's"),
    (-signal.SIGSEGV, "", LIVES, EmulatorFailed, "QEMU crashed, by SIGSEGV: that is the emulator's fault, not the kernel's"),
    (-signal.SIGABRT, "qemu-system-x86_64: failed to allocate memory for stack: Cannot allocate memory", LIVES, EmulatorFailed,
     "QEMU crashed, by SIGABRT: failed to allocate memory for stack: Cannot allocate memory: that is this host's doing, not the kernel's"),
    (-signal.SIGABRT, "qemu-system-x86_64: kvm.c:1: f: Assertion `x' failed.", "", EmulatorFailed,
     "QEMU crashed, by SIGABRT: kvm.c:1: f: Assertion `x' failed.: that is the emulator's fault, not the kernel's"),
    (1, "qemu-system-x86_64: load of migration failed", "", HostError, "QEMU ended with status 1: load of migration failed"),
])  # fmt: skip
def test_whose_fault_it_is(status: int, said: str, shown: str, kind: type[HostError | KernelDied], message: str) -> None:
    error = judged(status, said, shown, "see console")
    assert (type(error), error.message) == (kind, message)
    assert error.hint


def _tried(*fates: BaseException | str) -> tuple[str, int]:
    left = list(fates)

    async def once() -> str:
        fate = left.pop(0)
        if isinstance(fate, BaseException):
            raise fate
        return fate

    return asyncio.run(tried_again(once, Progress(quiet=True))), len(fates) - len(left)


def test_what_the_host_ended_is_tried_again_twice() -> None:
    killed = EmulatorFailed("killed")
    assert _tried(killed, killed, "done", "never") == ("done", 3)
    with pytest.raises(EmulatorFailed):
        _tried(killed, killed, killed, "never")


@pytest.mark.parametrize("error", [KernelDied("panic"), HostError("no QEMU")])
def test_what_would_be_the_same_again_is_not_tried_again(error: Exception) -> None:
    with pytest.raises(type(error)):
        _tried(error, "never")
