"""Rules by their handles, from what nft prints."""

from __future__ import annotations

from harness.guest.listing import parsed

LISTING = """\
table inet one { # handle 3
\tset ports { # handle 9
\t\ttype inet_service
\t\telements = { 22, 80 }
\t}

\tchain deep { # handle 2
\t\tip saddr 10.0.1.2 counter packets 0 bytes 0 drop comment "the # handle 1" # handle 8
\t}

\tchain fwd1 { # handle 4
\t\ttype filter hook forward priority filter - 10; policy accept;
\t\tjump deep # handle 12
\t\tudp dport vmap { 1 : accept,
\t\t\t\t 2 : jump deep } # handle 14
\t}
}
table ip two { # handle 4
\tchain fwd3 { # handle 1
\t\tcomment "mine"
\t\ttype filter hook forward priority 10; policy drop;
\t\tudp dport 77 counter packets 1 bytes 29 # handle 2
\t}
}
"""


def test_a_rule_is_found_by_its_tables_handle_and_its_own() -> None:
    assert parsed(LISTING) == {
        (3, 8): ("deep", 'ip saddr 10.0.1.2 counter packets 0 bytes 0 drop comment "the # handle 1"'),
        (3, 12): ("fwd1", "jump deep"),
        (3, 14): ("fwd1", "udp dport vmap { 1 : accept, 2 : jump deep }"),
        (4, 2): ("fwd3", "udp dport 77 counter packets 1 bytes 29"),
    }
