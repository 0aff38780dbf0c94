"""What a template holds ready: slow imports, kernel modules, nfharness.ko, the tracer, and what was found out about the kernel.

The host says which imports, and what is rehearsed (``harness/vm/preparation.py``). A session on a machine that is there already loads the
part that it needs, each time.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import GuestError
from harness.guest import module, tracing
from harness.guest.nfnetlink_hook import HookList
from harness.guest.privilege import require_root

__all__ = ("import_all", "is_prepared", "place", "prepare", "take_over", "undo")

#: Of what Debian alone brings: its package.
_PACKAGES = {"bcc": "apt-get install python3-bpfcc"}
#: Kernel modules that are loaded on demand anyway; loaded here they register no hook yet. One that is missing, or built in, is none.
_KERNEL_MODULES = ("veth", "nf_tables", "nft_ct", "nf_conntrack", "nft_chain_nat", "nfnetlink_queue", "nfnetlink_hook", "bridge",
                   "nf_reject_ipv4", "nf_reject_ipv6", "ip_tables", "ip6_tables", "arp_tables")

_prepared = False


def is_prepared() -> bool:
    """Whether this process holds what :func:`prepare` or :func:`take_over` gave it."""
    return _prepared


def place(bare: bool, modules: bool) -> dict[str, Any]:
    """Find the places of the tracer's probes, for a host that compiles the programs meanwhile: :func:`prepare` loads them then.

    :param bare: not on a kernel that can tell what is hooked: it is left as it is
    :param modules: load first the kernel modules of which anything may ask
    :returns: ``source`` of the programs, ``None`` of a kernel that is left as it is
    :raises GuestError: the kernel does not offer what is needed, or we are not root of the machine
    """
    require_root()
    if bare and in_fork(_lists_hooks):
        return {"source": None}
    if modules:
        subprocess.run(["modprobe", "--quiet", "--all", *_KERNEL_MODULES], check=False)
    return {"source": tracing.placed().source}


def import_all(names: Sequence[str]) -> float:
    """Import what the host will ask for.

    :param names: of modules, and of functions that the host will call ("module:function")
    :returns: the seconds that it took
    :raises GuestError: a session's machine lacks one
    """
    started = time.monotonic()
    for name in names:
        _import_needed(name.partition(":")[0])
    return time.monotonic() - started


def prepare(rehearsals: Sequence[str], bare_rehearsals: Sequence[str] | None, kernel_object: str | None, code: dict[str, Any] | None, *,
            saved: bool) -> dict[str, Any]:
    """Load what is needed; called once in an agent's life, in a template's before it is saved.

    What provokes a kernel's warnings, probing it, is not done in a template: a copy is probed once it is saved.

    :param rehearsals: functions that run once, each in a fork; what they import on the way is imported here, too
    :param bare_rehearsals: those instead of a kernel that is left as it is, if it can tell what is hooked; ``None``: it is not left so
    :param kernel_object: nfharness.ko; ``None`` does without it
    :param code: the tracer's programs, compiled; ``None`` for a kernel that is left as it is
    :param saved: this is a template
    :raises GuestError: the kernel does not offer what is needed
    """
    global _prepared  # noqa: PLW0603
    started = time.monotonic()
    bare = bare_rehearsals is not None and in_fork(_lists_hooks)
    if kernel_object and not bare:
        module.ensure(Path(kernel_object))
    if not bare:
        tracing.tracer(code)
    loaded = time.monotonic()
    probed = in_fork(_probe) if kernel_object and not saved else {}
    for rehearsal in bare_rehearsals if bare and bare_rehearsals else rehearsals:
        _import(in_fork(partial(_imported, rehearsal)))
    if saved and not bare:
        # Modules have come meanwhile: to read the kernel's symbols again would cost each guest half a second.
        tracing.tracer().own_hook()
    gc.collect()
    gc.freeze()
    _prepared = True
    system = os.uname()
    return {"profile": None, "provoked": [], **probed, "bare": bare, "release": system.release, "version": system.version,
            "tracer_load_s": loaded - started}


def _import_needed(name: str) -> None:
    """Import a module that the machine has to have.

    :raises GuestError: a session's machine has not got what a guest of ours has
    """
    try:
        importlib.import_module(name)
    except ImportError as error:
        lacking = error.name if isinstance(error, ModuleNotFoundError) and error.name else name
        hint = _PACKAGES.get(lacking, f"pip install {lacking}")
        raise GuestError(f"the agent's Python has no {lacking}: {error}", hint=hint) from None


def undo() -> None:
    """Take out of the kernel what :func:`prepare` put there, but for modules: others may use them by now."""
    tracing.unload()


def _lists_hooks() -> bool:
    listed = HookList()
    try:
        return listed.available()
    finally:
        listed.close()


def _probe() -> Any:
    from harness.guest import profile  # noqa: PLC0415 - only who probes needs it

    return profile.probed()


def _imported(rehearsal: str) -> list[str]:
    """The modules that a rehearsal imports on the way. The kernel, too, has then done everything once."""
    before = set(sys.modules)
    name, _, function = rehearsal.partition(":")
    getattr(importlib.import_module(name), function)()
    return sorted(set(sys.modules) - before)


def _import(names: Iterable[str]) -> None:
    """Import those that can be: others are made by the program that they are in, or are there no longer."""
    for name in names:
        with suppress(ModuleNotFoundError):
            importlib.import_module(name)


def in_fork(function: Callable[[], Any]) -> Any:
    """What *function* returns, run in its own process: what it changes of that is gone with it.

    :raises GuestError: it failed
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = {"result": function()}
        except BaseException:
            answer = {"traceback": traceback.format_exc()}
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    answer = json.loads(text or b'{"traceback": "it died"}')
    if "traceback" in answer:
        raise GuestError(f"probing the kernel failed: {answer['traceback'].strip().splitlines()[-1]}", hint=answer["traceback"])
    return answer["result"]


def take_over(older: dict[str, ModuleType]) -> None:
    """Take over from the code that a newer archive replaces, and import what was imported of it."""
    global _prepared  # noqa: PLW0603
    tracing.take_over(older.get(tracing.__name__))
    _prepared = getattr(older.get(__name__), "_prepared", False)
    _import(name for name in older if name.startswith("harness."))
    gc.collect()
    gc.freeze()
