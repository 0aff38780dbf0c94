"""What a template holds ready: slow imports, kernel modules, nfharness.ko, the tracer, and what was found out about the kernel.

A session on a machine that is there already loads the part that it needs, each time.
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
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import GuestError
from harness.guest import module
from harness.guest.nfnetlink_hook import HookList
from harness.trace.tracer import Tracer

__all__ = ("adopt", "is_prepared", "prepare", "tracer", "undo")

#: What would be waited for: to watch a command, to run scenarios, to run tests.
_TRACING = ("bcc", "capstone", "harness.guest.observe", "harness.guest.files")
_SCENARIOS = (*_TRACING, "scapy.all", "pyroute2", "harness.guest.executor")
_TESTS = (*_SCENARIOS, "pytest", "_pytest.assertion.rewrite", "hypothesis", "xdist", "harness.pytest_plugin.guest")
_IMPORTS = {"trace": _TRACING, "scenarios": _SCENARIOS, "tests": _TESTS, "template": _TESTS, "bare": _TESTS}
#: Kernel modules that are loaded on demand anyway; loaded here they register no hook yet.
_KERNEL_MODULES = ("veth", "nf_tables", "nft_ct", "nf_conntrack", "nfnetlink_queue", "nfnetlink_hook", "bridge")

_tracer: Tracer | None = None
_prepared = False


def tracer() -> Tracer:
    """The tracer that this guest's template loaded."""
    global _tracer  # noqa: PLW0603
    if _tracer is None:
        _tracer = Tracer()
        _tracer.load()
    return _tracer


def is_prepared() -> bool:
    """Whether this process holds what :func:`prepare` or :func:`adopt` gave it."""
    return _prepared


def prepare(purpose: str, kernel_object: str | None) -> dict[str, Any]:
    """Load what is needed; called once in an agent's life, in a template's before it is saved.

    :param purpose: "trace", "scenarios", "tests", "template", or "bare": a template of a kernel that is left as it is, if that kernel
        itself can tell what is hooked
    :param kernel_object: nfharness.ko; ``None`` does without it
    :raises GuestError: the kernel does not offer what is needed
    """
    global _prepared  # noqa: PLW0603
    started = time.monotonic()
    for name in _IMPORTS[purpose]:
        importlib.import_module(name)
    imported = time.monotonic()
    bare = purpose == "bare" and in_fork(_lists_hooks)
    if kernel_object and not bare:
        for name in _KERNEL_MODULES:
            subprocess.run(["modprobe", "--quiet", name], check=False)
        module.ensure(Path(kernel_object))
    if not bare:
        tracer()
    loaded = time.monotonic()
    profile = in_fork(_profile) if kernel_object and not bare else None
    if bare:
        _import(in_fork(partial(_imported, partial(_test, None))))
    elif purpose in ("template", "bare"):
        for rehearsal in (_scenario, partial(_test, profile)):
            _import(in_fork(partial(_imported, rehearsal)))
        # Modules have come meanwhile: to read the kernel's symbols again would cost each guest half a second.
        tracer().own_hook()
    gc.collect()
    gc.freeze()
    _prepared = True
    system = os.uname()
    return {"profile": profile, "release": system.release, "version": system.version, "import_s": imported - started,
            "tracer_load_s": loaded - imported}


def undo() -> None:
    """Take out of the kernel what :func:`prepare` put there, but for modules: others may use them by now."""
    global _tracer  # noqa: PLW0603
    if _tracer is not None:
        _tracer.close()
        _tracer = None


def _lists_hooks() -> bool:
    listed = HookList()
    try:
        return listed.available()
    finally:
        listed.close()


def _profile() -> Any:
    return importlib.import_module("harness.guest.profile").probe().to_json()


def _imported(rehearsal: Callable[[], None]) -> list[str]:
    """The modules that a rehearsal imports on the way. The kernel, too, has then done everything once."""
    before = set(sys.modules)
    rehearsal()
    return sorted(set(sys.modules) - before)


def _import(names: Iterable[str]) -> None:
    """Import those that can be: others are made by the program that they are in, or are there no longer."""
    for name in names:
        with suppress(ModuleNotFoundError):
            importlib.import_module(name)


def _scenario() -> None:
    importlib.import_module("harness.guest.executor").execute(importlib.import_module("harness.scenario.builtin").load())


def _test(profile: Any) -> None:
    importlib.import_module("harness.pytest_plugin.guest").rehearse(profile)


def in_fork(function: Callable[[], Any]) -> Any:
    """What *function* returns, run in a process of its own: what it changes of that is gone with it.

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
        raise GuestError(f"probing the kernel failed: {answer['traceback'].strip().splitlines()[-1]}", mend=answer["traceback"])
    return answer["result"]


def adopt(older: dict[str, ModuleType]) -> None:
    """Take over the tracer from the code that a newer archive replaces: its programs are in the kernel already."""
    global _tracer, _prepared
    before = older.get(__name__)
    _tracer, _prepared = getattr(before, "_tracer", None), getattr(before, "_prepared", False)
    _import(name for name in (*_TESTS, *older) if name.startswith("harness."))
    gc.collect()
    gc.freeze()
