"""A pcapng file of walks, read back: a block for each point, and what its hooks did."""

from __future__ import annotations

from pathlib import Path

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.utils import PcapNgReader

from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Fate
from harness.outcome.types import Change, HookCall, Outcome, PacketOutcome, Relation, RulesetRule, Traversal
from harness.walks.pcapng import written
from tests.unit.test_walks_changes import ipv4, ipv6

ACCEPT, DROP = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.DROP)


def point(hook: int, head: bytes, time: int, *calls: HookCall, pf: Family = Family.IPV4, changed: tuple[Change, ...] = ()) -> Traversal:
    return Traversal(pf, hook, "router", "eth0", "", calls, 1, head=head, length=1000, time=time, changed=changed)


def chain(verdict: Verdict, rule: RulesetRule | None = None, *changed: Change) -> HookCall:
    return HookCall(0, "nft_do_chain_inet", "nf_tables", -5, verdict, chain="inet fw in", rule=rule, changed=changed)


def test_every_point_is_a_block_on_an_interface_of_its_name_in_the_order_of_time(tmp_path: Path) -> None:
    first = PacketOutcome("UDP", None, Fate("dropped", 1), (
        point(0, ipv4(), 1_500_000, chain(ACCEPT, None, Change("mark", "0x0", "0x1"))),
        point(1, ipv4(ttl=63), 3_000_000, chain(DROP, RulesetRule(7, "in", "udp dport 9 drop")), changed=(Change("TTL", "64", "63"),)),
    ), number=1)
    second = PacketOutcome("ICMPv6", None, Fate("delivered", reason="icmpv6_rcv"), (point(1, ipv6("fd00::2"), 2_000_000, pf=Family.IPV6),),
                           number=2, relation=Relation("answer to", 1))
    arp = PacketOutcome("ARP", None, Fate("consumed"), (point(0, bytes(28), 2_500_000, pf=Family.ARP),), number=3)
    file = tmp_path / "walks.pcapng"
    file.write_bytes(written(Outcome(packets=(first, second, arp))))
    with PcapNgReader(str(file)) as reader:
        blocks = list(reader)
    assert [(block.sniffed_on, float(block.time), block.wirelen) for block in blocks] == [
        ("router PREROUTING", 0.0015, 1000), ("router IPV6 INPUT", 0.002, 1000), ("router INPUT", 0.003, 1000)]
    assert [kind in block for kind, block in zip((IP, IPv6, IP), blocks, strict=True)] == [True, True, True]
    assert bytes(blocks[2])[:24] == ipv4(ttl=63)[:24]
    comments = [b"".join(block.comments or ()).decode().splitlines() for block in blocks]
    assert comments[0] == ["packet 1, in eth0", "0 -5 inet fw in ACCEPT; mark 0x0 → 0x1", "returned 1"]
    assert comments[1] == ["packet 2 (answer to packet 1), in eth0", "returned 1", "delivered icmpv6_rcv"]
    assert comments[2] == ["packet 1, in eth0", "on its way here: TTL 64 → 63", "0 -5 inet fw in DROP; rule 7: udp dport 9 drop",
                           "returned 1", "dropped (EPERM)"]


def test_a_block_has_the_time_of_day(tmp_path: Path) -> None:
    packet = PacketOutcome("UDP", None, Fate("consumed"), (point(0, ipv4(), 1_500_000),), number=1)
    file = tmp_path / "walks.pcapng"
    file.write_bytes(written(Outcome(packets=(packet,), began=1_700_000_000_123_000_000)))
    with PcapNgReader(str(file)) as reader:
        assert [str(block.time) for block in reader] == ["1700000000.1245"]


def test_no_packet_at_all_is_a_file_that_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "none.pcapng"
    file.write_bytes(written(Outcome()))
    with PcapNgReader(str(file)) as reader:
        assert list(reader) == []


def test_a_name_that_is_no_text_is_escaped(tmp_path: Path) -> None:
    odd = Traversal(Family.IPV4, 0, "router\ud800", "eth\udcff", "", (), 1, head=ipv4(), length=100, time=1)
    file = tmp_path / "odd.pcapng"
    file.write_bytes(written(Outcome(packets=(PacketOutcome("UDP", None, Fate("consumed"), (odd,), number=1),))))
    with PcapNgReader(str(file)) as reader:
        (block,) = reader
    comments = block.comments or [b""]
    assert (block.sniffed_on, comments[0].splitlines()[0]) == ("router\\ud800 PREROUTING", b"packet 1, in eth\\udcff")
