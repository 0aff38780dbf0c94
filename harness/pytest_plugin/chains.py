"""Which nftables base chain sits in which slot of a hook array: the array knows the function only."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from harness.errors import UserError
from harness.guest.module import HookModule, HookRefused
from harness.guest.netns import Namespace
from harness.netfilter import HOOK_POINTS, Family

__all__ = ("base_chains", "load")

_SECONDS = 60
_OF_NFT = "nft_do_chain"


@dataclass(frozen=True, slots=True)
class _Chain:
    name: str
    family: str
    hook: str
    priority: int


def load(netns: Namespace, ruleset: str) -> None:
    """``nft -f -`` in a namespace. :raises UserError: nft does not take it"""
    with netns.inside():
        done = subprocess.run(["nft", "-f", "-"], input=ruleset, capture_output=True, text=True, check=False, timeout=_SECONDS)
    if done.returncode:
        raise UserError(f"nft: {done.stderr.strip()}")


def base_chains(name: str, netns: Namespace) -> Iterator[tuple[tuple[str, Family, int, int], str]]:
    """Each slot of nft's in the namespace's arrays → ``table chain``.

    Of chains with equal priority at a hook point the newest is first (``nf_hook_entries_grow``). What is at a device is left out.

    :param name: of the namespace in a walk
    """
    chains = list(_chains(netns))
    if not chains:
        return
    with HookModule(netns) as module:
        for pf in (Family.IPV4, Family.IPV6, Family.ARP, Family.BRIDGE):
            for hook, number in HOOK_POINTS[pf].items():
                try:
                    slots = [slot for slot in module.slots(pf, number) if slot.function.startswith(_OF_NFT)]
                except HookRefused:
                    continue
                for priority in {slot.priority for slot in slots}:
                    own = [slot for slot in slots if slot.priority == priority]
                    named = [chain for chain in reversed(chains) if (chain.hook, chain.priority) == (hook, priority) and _covers(chain, pf)]
                    if len(own) == len(named):
                        yield from (((name, pf, number, slot.index), chain.name) for slot, chain in zip(own, named, strict=True))


def _covers(chain: _Chain, pf: Family) -> bool:
    return {"ip": pf is Family.IPV4, "ip6": pf is Family.IPV6, "inet": pf in (Family.IPV4, Family.IPV6), "arp": pf is Family.ARP,
            "bridge": pf is Family.BRIDGE}.get(chain.family, False)


def _chains(netns: Namespace) -> Iterator[_Chain]:
    with netns.inside():
        listed = subprocess.run(["nft", "--json", "list", "chains"], capture_output=True, text=True, check=False, timeout=_SECONDS)
    if listed.returncode:
        return
    for entry in json.loads(listed.stdout)["nftables"]:
        chain = entry.get("chain", {})
        if "hook" in chain:
            yield _Chain(f"{chain['table']} {chain['name']}", chain["family"], chain["hook"].upper(), int(chain["prio"]))
