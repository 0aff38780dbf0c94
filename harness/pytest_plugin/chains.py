"""Rulesets of nftables."""

from __future__ import annotations

import subprocess

from harness.errors import UserError
from harness.guest.netns import Namespace

__all__ = ("load",)

_SECONDS = 60


def load(netns: Namespace, ruleset: str) -> None:
    """``nft -f -`` in a namespace.

    :raises UserError: nft does not take it
    """
    with netns.inside():
        done = subprocess.run(["nft", "-f", "-"], input=ruleset, capture_output=True, text=True, check=False, timeout=_SECONDS)
    if done.returncode:
        raise UserError(f"nft: {done.stderr.strip()}")
