"""The key of connections' ids: ``nf_ct_get_id()`` makes them by hashing, ``conntrack -L -o id`` shows them."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import subprocess
import threading
from pathlib import Path

from harness.trace.symbols import Symbols

__all__ = ("IdKey", "provoke")

#: A static variable of ``nf_ct_get_id()``, to whose name compilers add a number.
_NAME, _MODULE = "ct_id_seed", "nf_conntrack"
_SECTIONS = Path("/sys/module/nf_conntrack/sections")
#: The rule asks for the id of a packet's connection.
_RULESET = "table ip nfharness_table { chain nfharness_chain { type filter hook output priority 0; ct id 0 accept; }; }"
_CLONE_NEWNET, _SECONDS, _DISCARD = 0x40000000, 60, 9


class IdKey:
    """The key of conntrack's ids in the kernel's memory.

    :param symbols: of the kernel, nf_conntrack loaded; without it the key is never found
    """

    def __init__(self, symbols: Symbols, sections: Path = _SECTIONS) -> None:
        self._built_in, self._section, self._offset, self._sections = 0, "", 0, sections
        found = symbols.numbered(_NAME)
        if len(found) != 1:
            return
        if found[0].module is None:
            self._built_in = found[0].address
        elif found[0].module == _MODULE:
            before = {name: start for name, start in self._starts().items() if start <= found[0].address}
            if before:
                self._section = max(before, key=lambda name: before[name])
                self._offset = found[0].address - before[self._section]

    def address(self) -> int:
        """Address of the key now, as nf_conntrack may be another one than at first; 0 where that is not known."""
        start = self._starts().get(self._section, 0)
        return self._built_in or (start and start + self._offset)

    def _starts(self) -> dict[str, int]:
        """Section of the module → its address; none while it is not there."""
        try:
            return {path.name: int(path.read_text(), 16) for path in self._sections.iterdir() if not path.name.startswith(".init")}
        except OSError:
            return {}


def provoke() -> None:
    """Have the kernel make the key, which it does when it is asked for the first id: a packet in a namespace that goes at once.

    Where that does not work (no nft, no ``ip``) the key is made when a process lists connections.
    """
    def ask() -> None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
                return
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True, capture_output=True, timeout=_SECONDS)
            subprocess.run(["nft", _RULESET], check=True, capture_output=True, timeout=_SECONDS)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(b"", ("127.0.0.1", _DISCARD))

    # Network namespaces are a thread's: this one's goes with it.
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
