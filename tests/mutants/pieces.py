"""Wrong fragments, segments and lists."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from harness.model.path import device, entrance, fragment, ip
from harness.model.path.packet import Packet
from harness.model.path.stack import Stack
from harness.model.steps import packets
from tests.mutants.mutant import collected, named, rules_only

__all__ = ("MUTANTS",)


def whole(packet: Packet) -> list[Packet]:
    return [packet]


def never_waits(_on: Stack, _netns: str, _user: str, _packet: Packet) -> bool:
    return True


def an_empty_one_last(packet: Packet, room: int) -> list[Packet]:
    full = right_pieces(packet, room)
    last = full[-1].piece
    return [*full, replace(full[-1], piece=replace(last, size=0))] if last is not None and last.size == room else full


right_pieces, right_defrag = fragment.pieces, fragment.ip_defrag


def conntrack_never_waits(on: Stack, netns: str, user: str, packet: Packet) -> bool:
    return user.startswith("conntrack") or right_defrag(on, netns, user, packet)


def defrag_before_input(on: Stack, netns: str, name: str, packet: Packet) -> None:
    if right_defrag(on, netns, "local", packet):
        on.nf_hook(netns, packet, (packet.pf, "INPUT"), (name, ""), partial(ip.ip_local_deliver_finish, on, netns))


right_finish = ip.ip_finish_output


def ip_finish_output(on: Stack, netns: str, hop: Any, packet: Packet) -> int:
    packet.segment = None
    return right_finish(on, netns, hop, packet)


def one_loop_for_each(on: Stack, netns: str, packet: Packet, *how: Any) -> bool:
    return on._hook(netns, packet, *how) == 1


def each_by_itself(on: Stack, netns: str, name: str, packets: list[Packet]) -> None:
    for packet in packets:
        device.netif_receive_skb(on, netns, name, packet)


def answers_each(on: Stack, netns: str, packet: Packet, kind: Any) -> None:
    right_icmp_send(on, netns, replace(packet, piece=None), kind)


def answers_the_first(on: Stack, netns: str, packet: Packet, kind: Any) -> None:
    if packet.piece is None or packet.piece.index == 0:
        right_icmp_send(on, netns, packet, kind)


right_icmp_send = ip._icmp_send


def quotes_all(on: Stack, netns: str, packet: Packet, kind: Any, *, own: bool) -> Packet | None:
    answer = right_answer(on, netns, packet, kind, own=own)
    if answer is not None:
        answer.size = packet.size
    return answer


right_answer = ip._answer


def sendto_until_refused(on: Stack, netns: str, packet: Packet) -> None:
    for piece in [packet] if packet.piece is None else fragment.pieces(packet, packet.piece.size):
        packet.walk.sent_errno = entrance._sent_errno(packet, ip.ip_send(on, netns, piece))
        if packet.walk.sent_errno:
            return


def nothing_refuses_fragments(on: Stack, netns: str, hop: Any, packet: Packet) -> int:
    ret = right_output(on, netns, hop, packet)
    return ret if packet.piece is None else 0


right_output = ip._ip_finish_output2


def sends_all_first(on: Stack, netns: str, packet: Packet) -> None:
    on.local_bh_disable()
    entrance.sendto(on, netns, packet)
    on.local_bh_enable()


MUTANTS = collected([
    named("nothing is cut up", fragment, "ip_fragment", whole, "path.fragments", "path.fragments-egress", "list"),
    rules_only(named("full fragments have an empty one behind", fragment, "pieces", an_empty_one_last, "path.fragments-full")),
    named("fragments are not put together", fragment, "ip_defrag", never_waits, "path.fragments"),
    rules_only(named("conntrack does not wait for fragments", fragment, "ip_defrag", conntrack_never_waits, "path.fragments")),
    named("IPv6 is put together before INPUT", ip, "ip_local_deliver", defrag_before_input, "path.fragments"),
    rules_only(named("ICMP answers each fragment", ip, "_icmp_send", answers_each, "path.fragments-error")),
    rules_only(named("ICMPv6 answers the first fragment only", ip, "_icmp_send", answers_the_first, "path.fragments-error")),
    rules_only(named("an ICMP error quotes all of a datagram", ip, "_answer", quotes_all, "path.fragments-error")),
    named("a fragment that is refused is the last", packets, "sendto", sendto_until_refused, "path.fragments-refused"),
    named("fragments follow one that egress refuses", ip, "_ip_finish_output2", nothing_refuses_fragments, "path.fragments-cut-short"),
    named("segments are cut up at POSTROUTING", ip, "ip_finish_output", ip_finish_output, "path.gso"),
    rules_only(
        named("a device keeps what it should take apart", device, "_validate_xmit_skb", lambda _on, packet: [packet], "path.gso-apart")),
    named("a list is called hook by hook elsewhere", Stack, "nf_hook_list", one_loop_for_each, "list"),
    rules_only(named("a list has no end", device, "_GRO_NORMAL_BATCH", 1000, "list.batch")),
    named("a process sends all that it has before any comes in", packets, "sendto", sends_all_first, "list.batch"),
    named("a list is taken apart", device, "_netif_receive_skb_list", each_by_itself, "list"),
])
