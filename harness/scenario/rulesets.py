"""Rulesets that several scenarios and rules load."""

from __future__ import annotations

__all__ = ("CONNTRACK",)

CONNTRACK = """\
table inet watch {
    chain forward {
        type filter hook forward priority filter; policy accept;
        ct state new counter accept
    }
}
"""
"""Makes nft bring conntrack along."""
