"""Which settings were written is told by inotify, whichever process wrote them; what a kernel changes by itself is not told."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.pytest_plugin.guest.settings import Settings
from harness.pytest_plugin.guest.standing import missing
from harness.pytest_plugin.lab import Lab

ROOT = "/proc/sys"
TTL, PANIC, QUEUED = (Path(ROOT, name) for name in ("net/ipv4/ip_default_ttl", "kernel/panic_on_warn", "fs/inotify/max_queued_events"))
_CLONE_NEWNS, _MS_REC_PRIVATE = 0x20000, 0x44000
SHORT = [f"the setting {TTL} is 3, and was 64"]


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A watch that has just begun; the settings that tests write are put back."""
    values = {path: path.read_text() for path in (TTL, PANIC, QUEUED)}
    yield Settings(ROOT)
    for path, value in values.items():
        path.write_text(value)


def otherwise(settings: Settings, command: str) -> list[str]:
    """What is told of a shell's command."""
    before = settings.read()
    subprocess.run(["sh", "-c", command], check=True, stdout=subprocess.DEVNULL)
    return missing(before, settings.read())


@pytest.mark.parametrize("command", [
    f"echo 3 > {TTL}", "sysctl -w net.ipv4.ip_default_ttl=3", f"unshare -m sh -c 'echo 3 > {TTL}'",
    f"cd {TTL.parent}; python3 -c 'print(3)' > ./{TTL.name}", f"echo 3 > /proc/self/root{TTL}",
])
def test_a_setting_that_a_process_writes_is_told_until_it_is_put_back(settings: Settings, command: str) -> None:
    before = settings.read()
    assert otherwise(settings, command) == SHORT
    TTL.write_text("64")
    assert settings.read() == before


def test_what_is_not_written_is_not_read_again(settings: Settings) -> None:
    assert settings.read() is settings.read()


def test_another_namespaces_settings_are_its_own(settings: Settings, lab: Lab) -> None:
    with lab.namespace("other").inside():
        subprocess.run(["sh", "-c", f"echo 3 > {TTL}; echo 1 > {PANIC}; echo 0 > {PANIC}"], check=True)
    assert settings.written() == {str(PANIC)}


def test_a_directory_that_the_kernel_would_forget_is_still_watched(settings: Settings) -> None:
    """Without the pins nothing is told: ``drop_caches`` frees what no path leads to, two times because of DCACHE_REFERENCED."""
    inode = TTL.parent.stat().st_ino
    assert otherwise(settings, f"for i in 1 2 3 4 5 6; do echo 2 > /proc/sys/vm/drop_caches; done; echo 3 > {TTL}") == SHORT
    assert TTL.parent.stat().st_ino == inode


def test_the_mount_of_proc_is_not_held() -> None:
    """An open directory of that mount would make ``umount`` fail with EBUSY."""
    pid = os.fork()
    if pid == 0:
        libc, status = ctypes.CDLL(None), 1
        try:
            libc.unshare(_CLONE_NEWNS)
            libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None)
            watch = Settings(ROOT)
            status = libc.umount(b"/proc") and 2
            del watch
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_too_many_writes_are_as_if_all_were_written(settings: Settings) -> None:
    QUEUED.write_text("4")  # of watches that begin now (inotify_new_group)
    few = Settings(ROOT)
    assert otherwise(few, f"for i in 1 2 3 4; do echo 64 > {TTL}; echo 0 > {PANIC}; done; echo 3 > {TTL}") == SHORT


def test_what_changes_by_itself_is_no_setting(settings: Settings) -> None:
    assert otherwise(settings, "cat /proc/sys/kernel/ns_last_pid > /tmp/last; cat /tmp/last > /proc/sys/kernel/ns_last_pid; true") == []
    assert otherwise(settings, "echo 1 > /proc/sys/vm/stat_refresh") == []


def test_a_watch_that_is_gone_is_told_and_so_is_what_was_written_meanwhile(settings: Settings) -> None:
    before = settings.read()
    number = settings._inotify.fd
    os.close(number)
    TTL.write_text("3")
    assert missing(before, settings.read()) == [f"the worker's descriptor {number} (the watch over settings) is gone", *SHORT]
