"""Where hooks are registered and unregistered (``registrations.bpf.c``), found in the running kernel."""

from __future__ import annotations

from harness.errors import GuestError
from harness.trace.probes import after_prologue, code_of, returns
from harness.trace.symbols import Symbols

__all__ = ("EVENTS", "registrations_of")

#: Event → the functions that it is on, and whether it is where they return. In the order of arming: what ends a registration before what
#: begins it. ``__nf_unregister_net_hook`` may end in a tail call: what it did is known before.
_PLACES = {
    "hook_shrunk": (("__nf_hook_entries_try_shrink",), True),
    "hook_registered": (("__nf_register_net_hook", "nf_hook_entries_insert_raw"), True),
    "hook_grown": (("nf_hook_entries_grow",), True),
    "hook_shrink": (("__nf_hook_entries_try_shrink",), False),
    "hook_grow": (("nf_hook_entries_grow",), False),
    "hook_delete": (("nf_hook_entries_delete_raw",), False),
    "hook_insert": (("nf_hook_entries_insert_raw",), False),
    "hook_unregister": (("__nf_unregister_net_hook",), False),
    "hook_register": (("__nf_register_net_hook",), False),
}
EVENTS = tuple(_PLACES)


def registrations_of(symbols: Symbols) -> dict[str, tuple[tuple[str, int], ...]]:
    """kprobe event → its places.

    :raises GuestError: the compiler has put one of the functions into its caller, or it cannot be probed
    """
    functions = {function for names, _ in _PLACES.values() for function in names}
    if missing := sorted(function for function in functions if not symbols.named(function)):
        raise GuestError(f"this kernel has no separate function {', '.join(missing)}", hint="the compiler put it into its caller")
    return {event: tuple((function, at) for function in names for at in _places(symbols, function, ends=ends))
            for event, (names, ends) in _PLACES.items()}


def _places(symbols: Symbols, function: str, *, ends: bool) -> tuple[int, ...]:
    address, code = code_of(symbols, function)
    return returns(code, address, symbols.aliases, function) if ends else (after_prologue(code),)
