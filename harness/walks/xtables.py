"""The tables of iptables, ip6tables and arptables, told from what x_tables registers as hooks."""

from __future__ import annotations

import re

__all__ = ("table_of",)

#: On older kernels each table's module has a separate hook function, whose name says which table (``iptable_raw_hook``).
_OWN = re.compile(r"(ip6?table|arptable)_(raw|mangle|filter|security|nat)_(?:hook|do_chain)")
#: On newer ones all tables of a family share one, and a table is told by the priority that it registers with, which no module lets a user
#: change but raw's.
_SHARED = {"ipt_do_table": "iptables", "ip6t_do_table": "ip6tables", "arpt_do_table": "arptables"}
_PRIORITIES = {-450: "raw", -300: "raw", -150: "mangle", -100: "nat", 0: "filter", 50: "security", 100: "nat"}


def table_of(function: str, priority: int | None) -> str | None:
    """``iptables filter``; ``None`` of a hook that is no table's.

    :param function: of the hook
    :param priority: of its ``nf_hook_ops``
    """
    if own := _OWN.fullmatch(function):
        return f"{own[1]}s {own[2]}"
    if function in _SHARED and priority in _PRIORITIES:
        return f"{_SHARED[function]} {_PRIORITIES[priority]}"
    return None
