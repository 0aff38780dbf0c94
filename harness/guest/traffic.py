"""Packets with a cookie: sent so that ``sendto()``'s errno is seen, and awaited at the other end.

A cookie is a packet's last 16 bytes: :data:`MAGIC` and a big-endian u64 (``kmod/nfharness.h``), in either order.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import time
from collections.abc import Collection
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from harness.guest.netns import Namespace
from harness.scenario.addresses import ip_address
from harness.scenario.steps.packets import COOKIE_BYTES
from harness.walks.summary import COOKIE_MAGIC as MAGIC
from harness.walks.summary import cookie_of as _cookie_at_end

if TYPE_CHECKING:
    from scapy.packet import Packet

__all__ = (
    "COOKIE_BYTES", "MAGIC", "Arrival", "Sinks", "be_transparent", "cookie_of", "family_of", "fragments", "let_in", "payload", "send_echo",
    "send_frame", "send_ip", "send_udp", "udp_packet",
)

_COOKIE = struct.Struct("!8sQ")
_ICMP_FILTER, _ICMPV6_FILTER, _SOL_RAW = 1, 1, 255
_ECHO_TYPES = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
_RECEIVE = 1 << 16
_UDP_SEGMENT = 103
_IP_TRANSPARENT, _IPV6_TRANSPARENT, _SO_RCVBUFFORCE, _SO_MEMINFO = 19, 75, 33, 55
#: What ``SO_MEMINFO`` says of a socket: numbers of 32 bits, at this place how much it dropped.
_MEMINFO, _MEMINFO_DROPS = struct.Struct("=9I"), 8


def payload(size: int, cookie: int) -> bytes:
    """*size* bytes full of the cookie, so that every fragment of them ends with it.

    :raises ValueError: they do not hold a cookie
    """
    if size < COOKIE_BYTES:
        raise ValueError(f"a payload with a cookie has at least {COOKIE_BYTES} bytes, not {size}")
    cookies, rest = divmod(size, COOKIE_BYTES)
    return bytes(range(rest)) + _COOKIE.pack(MAGIC, cookie) * cookies


def cookie_of(data: bytes) -> int | None:
    """The cookie at the end of a packet, if it carries one."""
    return _cookie_at_end(data[-COOKIE_BYTES:])


def send_udp(netns: Namespace, to: str, port: int, data: bytes, *, source_port: int = 0, ttl: int = 64,
             segment: int | None = None) -> int:
    """Send one datagram through its own socket.

    :param segment: ``UDP_SEGMENT``: so many bytes of payload in each of several datagrams, which the kernel keeps together
    :returns: positive errno of ``sendto()``, 0 if it was taken
    """
    with netns.inside(), socket.socket(family_of(to), socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _set_ttl(sender, ttl)
        if segment:
            sender.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, segment)
        sender.bind(("", source_port))
        return _sendto(sender, data, (to, port))


def send_echo(netns: Namespace, to: str, data: bytes, *, identifier: int = 1, ttl: int = 64) -> int:
    """Send one echo request through a raw socket.

    :returns: positive errno of ``sendto()``, 0 if it was taken
    """
    from scapy.layers.inet import ICMP  # noqa: PLC0415 - seconds in an emulated guest
    from scapy.layers.inet6 import ICMPv6EchoRequest  # noqa: PLC0415

    if family_of(to) is socket.AF_INET6:
        protocol, request = socket.IPPROTO_ICMPV6, bytes(ICMPv6EchoRequest(id=identifier, seq=1, cksum=0, data=data))
    else:
        protocol, request = socket.IPPROTO_ICMP, bytes(ICMP(id=identifier, seq=1) / data)
    with netns.inside(), socket.socket(family_of(to), socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as sender:
        _set_ttl(sender, ttl)
        return _sendto(sender, request, (to, 0))


def udp_packet(source: str, to: str, source_port: int, port: int, data: bytes, *, ttl: int = 64) -> Packet:
    """A scapy UDP datagram, IPv4 or IPv6 as its addresses are."""
    from scapy.layers.inet import IP, UDP  # noqa: PLC0415 - seconds in an emulated guest
    from scapy.layers.inet6 import IPv6  # noqa: PLC0415

    header = IPv6(src=source, dst=to, hlim=ttl) if family_of(to) is socket.AF_INET6 else IP(src=source, dst=to, ttl=ttl)
    return header / UDP(sport=source_port, dport=port) / data


def fragments(packet: Packet, size: int) -> list[Packet]:
    """A scapy datagram in fragments.

    :param size: bytes of IP payload in each, a multiple of 8
    """
    from scapy.layers.inet import IP, fragment  # noqa: PLC0415 - seconds in an emulated guest
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment  # noqa: PLC0415
    from scapy.packet import Raw  # noqa: PLC0415

    if packet.version == 4:
        packet.id = packet.sport  # the kernel would give each fragment another one
        return list(fragment(IP(bytes(packet)), fragsize=size))  # type: ignore[no-untyped-call]
    whole = bytes(packet)[40:]
    header = IPv6(src=packet.src, dst=packet.dst, hlim=packet.hlim)
    return [header / IPv6ExtHdrFragment(nh=socket.IPPROTO_UDP, id=packet.sport, offset=at // 8, m=int(at + size < len(whole)))
            / Raw(whole[at:at + size]) for at in range(0, len(whole), size)]


def send_ip(netns: Namespace, packet: Packet, cookie: int | None = None) -> int:
    """Send a scapy IP or IPv6 packet as it is, routed like a local one (it crosses OUTPUT).

    :param cookie: appended to its payload
    :returns: positive errno of ``sendto()``, 0 if it was taken
    """
    packet = _with_cookie(packet, cookie)
    family = socket.AF_INET6 if packet.version == 6 else socket.AF_INET
    with netns.inside(), socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as sender:
        return _sendto(sender, bytes(packet), (packet.dst, 0))


def send_frame(netns: Namespace, device: str, frame: Packet, cookie: int | None = None) -> int:
    """Send a scapy Ethernet frame out of a device (it crosses NETDEV EGRESS, no IP hook point of the sender).

    :param cookie: appended to its payload
    :returns: positive errno of ``sendto()``, 0 if it was taken
    """
    data = bytes(_with_cookie(frame, cookie))
    with netns.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as sender:
        return _sendto(sender, data, (device, 0))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A cookie that a sink saw.

    :param netns: the namespace's name under ``/run/netns``
    :param port: of UDP, else 0
    """

    netns: str
    cookie: int
    port: int = 0


class Sinks:
    """Sockets that take what is sent. Without one, a datagram is answered with an ICMP error, which is another walk."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._open: set[tuple[str, int, int]] = set()
        self._arrivals: list[Arrival] = []
        self._cookies: set[int] = set()

    def __enter__(self) -> Sinks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()

    def close_netns(self, netns: Namespace) -> None:
        """Close those of a namespace, which they would keep alive. What has arrived is kept."""
        self.take()
        for key in [key for key in self._selector.get_map().values() if key.data[0] == netns.name]:
            self._selector.unregister(key.fileobj)
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._open = {key for key in self._open if key[0] != netns.name}

    def add_udp(self, netns: Namespace, family: socket.AddressFamily, port: int, *, transparent: bool = False, room: int = 0) -> None:
        """Take the datagrams for a port of a namespace, whatever its address; a second time changes nothing.

        :param transparent: let tproxy lead datagrams to it
        :param room: bytes of its receive buffer; 0 for the kernel's default
        """
        self._add(netns, family, socket.SOCK_DGRAM, socket.IPPROTO_UDP, port, transparent=transparent, room=room)

    def add_echo(self, netns: Namespace, family: socket.AddressFamily) -> None:
        """Look at the echo requests and replies that reach a namespace; the kernel answers requests all the same."""
        self._add(netns, family, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP, 0)

    def _add(self, netns: Namespace, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int, port: int, *,
             transparent: bool = False, room: int = 0) -> None:
        key = (netns.name, int(family) << 8 | protocol, port)
        if key in self._open:
            return
        with netns.inside():
            sink = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
        try:
            if (family, kind) == (socket.AF_INET6, socket.SOCK_DGRAM):
                sink.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if kind == socket.SOCK_RAW:
                let_in(sink, _ECHO_TYPES[family])  # and no errors: whether a socket takes one is a packet's end
            if transparent:
                be_transparent(sink)
            if room:
                sink.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, room)
            sink.bind(("", port))
            self._selector.register(sink, selectors.EVENT_READ, (netns.name, port))
        except BaseException:
            sink.close()
            raise
        self._open.add(key)

    @property
    def cookies(self) -> Collection[int]:
        """The cookies that have arrived, as far as they are taken."""
        return self._cookies

    @property
    def overrun(self) -> int:
        """The packets that the open sockets did not take, for want of room (``sk_drops``)."""
        sockets = (key.fileobj for key in self._selector.get_map().values())
        return sum(_MEMINFO.unpack(sink.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[_MEMINFO_DROPS]
                   for sink in sockets if isinstance(sink, socket.socket))

    def wait(self, cookies: Collection[int], seconds: float) -> tuple[Arrival, ...]:
        """Wait for *cookies*; return all that has arrived since the sinks were made, when they are among it or the time is up."""
        deadline = time.monotonic() + seconds
        self.take()
        while not self._cookies >= set(cookies) and (remaining := deadline - time.monotonic()) > 0:
            self._selector.select(remaining)
            self.take()
        return tuple(self._arrivals)

    def take(self) -> None:
        """Take what the sockets have now."""
        while ready := self._selector.select(0):
            for key, _ in ready:
                self._read(key)

    def forget(self) -> None:
        """Take what the sockets have, and begin anew."""
        self.take()
        self._arrivals.clear()
        self._cookies.clear()

    def _read(self, key: selectors.SelectorKey) -> None:
        assert isinstance(key.fileobj, socket.socket)  # noqa: S101
        netns, port = key.data
        with contextlib.suppress(BlockingIOError):
            data = key.fileobj.recv(_RECEIVE)
            cookie = cookie_of(data)
            if cookie is not None:
                self._arrivals.append(Arrival(netns, cookie, port))
                self._cookies.add(cookie)


def let_in(sink: socket.socket, types: Collection[int]) -> None:
    """Let a raw socket of ICMP or ICMPv6 take messages of these types alone (``icmp_filter``, ``icmpv6_filter``).

    :param types: as the first byte of a message has them; of ICMP those below 32, the kernel filters no others
    """
    blocked = (1 << 256) - 1 - sum(1 << kind for kind in types)
    if sink.family == socket.AF_INET6:
        sink.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, blocked.to_bytes(32, "little"))
    else:
        sink.setsockopt(_SOL_RAW, _ICMP_FILTER, (blocked & 0xFFFFFFFF).to_bytes(4, "little"))


def be_transparent(server: socket.socket) -> None:
    """Let tproxy lead packets to a socket of TCP or UDP (``IP_TRANSPARENT``)."""
    if server.family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    else:
        server.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)


def family_of(address: str) -> socket.AddressFamily:
    """``AF_INET`` or ``AF_INET6``."""
    return socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET


def _set_ttl(sender: socket.socket, ttl: int) -> None:
    if sender.family == socket.AF_INET6:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
    else:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)


def _sendto(sender: socket.socket, data: bytes, address: tuple[str, int]) -> int:
    try:
        sender.sendto(data, address)
    except OSError as error:
        return error.errno or 0
    return 0


def _with_cookie(packet: Packet, cookie: int | None) -> Packet:
    if cookie is None:
        return packet
    from scapy.packet import Raw  # noqa: PLC0415

    return packet / Raw(_COOKIE.pack(MAGIC, cookie))
