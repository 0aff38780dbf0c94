"""What stands in a network namespace: what a person put there is told, what the kernel makes by itself is not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from harness.guest.inventory import Inventory
from harness.pytest_plugin.lab import Lab
from harness.pytest_plugin.networks import Host


@pytest.fixture
def host(lab: Lab) -> Iterator[Host]:
    """An empty namespace, its ``lo`` up, that the test is in."""
    host = lab.namespace("lone")
    with host.inside():
        yield host


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


@pytest.mark.parametrize(("put", "taken", "told"), [
    ("ip address add 192.0.2.9/32 dev lo", "ip address del 192.0.2.9/32 dev lo", "address 192.0.2.9/32 of lo"),
    ("ip address add 2001:db8::9/64 dev lo", "ip address del 2001:db8::9/64 dev lo", "address 2001:db8::9/64 of lo"),
    ("ip rule add prio 5 from 10.0.0.0/8 prohibit", "ip rule del prio 5", "IPv4 rule 5: from 10.0.0.0/8 prohibit"),
    ("ip -6 rule add prio 7 to 2001:db8::/32 table 9", "ip -6 rule del prio 7", "IPv6 rule 7: to 2001:db8::/32 lookup 9"),
    ("ip route add 10.9.0.0/16 dev lo", "ip route del 10.9.0.0/16", "IPv4 route 10.9.0.0/16 by lo, table 254"),
    ("ip -6 route add unreachable 2001:db8:9::/48 table 7", "ip -6 route del unreachable 2001:db8:9::/48 table 7",
     "IPv6 route unreachable 2001:db8:9::/48 by lo, table 7"),
    ("ip neigh add 2001:db8::1 lladdr 02:00:00:00:00:01 nud permanent dev lo", "ip neigh del 2001:db8::1 dev lo",
     "permanent neighbour 2001:db8::1 of lo"),
    ("tc qdisc add dev lo root handle 7: netem delay 1ms", "tc qdisc del dev lo root", "queueing discipline netem 7: of lo"),
    ("ip nexthop add id 7 blackhole", "ip nexthop del id 7", "next hop 7"),
    ("ip xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 dir out action block priority 3",
     "ip xfrm policy del src 10.0.0.0/8 dst 10.1.0.0/16 dir out", "XFRM policy from 10.0.0.0/8 to 10.1.0.0/16 out, block, priority 3"),
    ("ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto ah spi 0x99 auth digest_null 0",
     "ip xfrm state delete src 192.0.2.1 dst 192.0.2.2 proto ah spi 0x99",
     "XFRM state from 192.0.2.1 to 192.0.2.2, protocol 51, SPI 0x99"),
    ("ip link property add dev lo altname one altname another-name-of", "ip link property del dev lo altname one altname another-name-of",
     "alternative name another-name-of of lo, alternative name one of lo"),
    ("nft add table ip6 without", "nft delete table ip6 without", "table of nftables ip6 without"),
])
def test_what_was_put_there_is_told_until_it_is_taken_away(host: Host, put: str, taken: str, told: str) -> None:
    inventory = Inventory()
    before = inventory.read()
    run(put)
    assert ", ".join(sorted(map(str, inventory.read() - before))) == told
    run(taken)
    assert inventory.read() == before


def test_what_the_kernel_makes_by_itself_is_not_told(host: Host) -> None:
    inventory = Inventory()
    before = inventory.read()
    for command in ("ip link set lo down", "ip link set lo up", "ping -c1 -W1 127.0.0.1", "ip link add one type veth peer name two",
                    "ip link set one up", "ip link set two up", "ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 nud stale dev one",
                    "ip link add vrf7 type vrf table 7"):
        run(command)
    assert inventory.read() == before


def test_a_rule_that_went_is_missed(host: Host) -> None:
    inventory = Inventory()
    before = inventory.read()
    run("ip rule del prio 32767")
    assert list(map(str, before - inventory.read())) == ["IPv4 rule 32767: from all lookup 253"]
