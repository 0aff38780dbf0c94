"""A guest's libpcap, for a host that has none."""

from __future__ import annotations

import json
import sys

from harness.walks.pcap import answered

__all__ = ("main",)


def main() -> None:
    """Read a question of :func:`harness.walks.pcap.answered` on standard input, and print its answer, both as JSON."""
    print(json.dumps(answered(json.load(sys.stdin))))
