"""Where packets came by: hook points, and the devices between them; and the picture that is drawn of it."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Fate, FateKind
from harness.outcome.types import NF_REINJECT, PacketOutcome, Traversal
from harness.walks.diagram import Device, DrawnPoint, Place, diagram, path
from harness.walks.drawing import Box, Drawing, drawn

INET = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
NUMBERS = {Family.ARP: ("INPUT", "OUTPUT", "FORWARD"), Family.NETDEV: ("INGRESS", "EGRESS")}


def at(where: str, devices: str = ">", pf: Family = Family.IPV4, **more: object) -> Traversal:
    """``router FORWARD``, ``rc>rs``."""
    netns, name = where.split()
    indev, _, outdev = devices.partition(">")
    return Traversal(pf, NUMBERS.get(pf, INET).index(name), netns, indev, outdev, (), 1, **more)  # type: ignore[arg-type]


def packet(*traversals: Traversal, end: FateKind = "delivered", number: int = 1) -> PacketOutcome:
    return PacketOutcome("UDP", None, Fate(end), traversals, number=number)


def said(places: tuple[Place, ...]) -> list[str]:
    """``router FORWARD`` of a point, ``router/rc`` of a device."""
    return [f"{place.netns}/{place.name}" if isinstance(place, Device) else f"{place.netns} {place.name}" for place in places]


FORWARDED = (at("client OUTPUT", ">c0"), at("client POSTROUTING", ">c0"), at("router PREROUTING", "rc>"), at("router FORWARD", "rc>rs"),
             at("router POSTROUTING", "rc>rs"), at("server INPUT", "s0>"))
LOCAL = (at("init OUTPUT", ">lo"), at("init POSTROUTING", ">lo"), at("init PREROUTING", "lo>"), at("init INPUT", "lo>"))


@pytest.mark.parametrize(("walk", "places"), [
    (packet(*FORWARDED), ["client OUTPUT", "client POSTROUTING", "client/c0", "router/rc", "router PREROUTING", "router FORWARD",
                          "router POSTROUTING", "router/rs", "server/s0", "server INPUT"]),
    (packet(*LOCAL), ["init OUTPUT", "init POSTROUTING", "init/lo", "init PREROUTING", "init INPUT"]),
    (packet(at("router PREROUTING", "rc>"), at("router FORWARD", "rc>rs"), end="dropped"),
     ["router/rc", "router PREROUTING", "router FORWARD"]),
    (packet(at("a POSTROUTING", ">dummy0"), end="sent"), ["a POSTROUTING", "a/dummy0"]),
    (packet(at("a POSTROUTING", ">dummy0"), end="unknown"), ["a POSTROUTING"]),
    (packet(at("a OUTPUT", ">e", Family.ARP), at("b INPUT", "f>", Family.ARP)), ["a OUTPUT", "a/e", "b/f", "b INPUT"]),
    (packet(at("a POSTROUTING", ">vx"), at("a OUTPUT", ">e"), at("a POSTROUTING", ">e"), end="dropped"),
     ["a POSTROUTING", "a/vx", "a OUTPUT", "a POSTROUTING"]),
    (packet(at("a INPUT", "e>"), at("a INPUT", "e>", loop=NF_REINJECT, answer=Verdict(VerdictKind.ACCEPT))), ["a/e", "a INPUT"]),
    (packet(), []),
])
def test_the_places_of_a_packet_are_points_and_the_devices_between_them(walk: PacketOutcome, places: list[str]) -> None:
    assert said(path(walk)) == places


def test_packets_are_counted_at_places_on_ways_and_where_they_were_dropped() -> None:
    dropped = packet(*FORWARDED[2:4], end="dropped", number=2)
    by_the_stack = packet(*FORWARDED[:2], end="dropped by the stack", number=3)  # nobody knows where
    found = diagram([packet(*FORWARDED), dropped, by_the_stack])
    forward, before = DrawnPoint("router", Family.IPV4, 2), DrawnPoint("router", Family.IPV4, 0)
    assert (found.places[forward], found.ways[before, forward], dict(found.dropped)) == (2, 2, {forward: 1})
    assert found.places[Device("server", "s0")] == 1


def test_a_packet_that_comes_again_is_counted_once() -> None:
    found = diagram([packet(*LOCAL, *LOCAL)])
    assert set(found.places.values()) == set(found.ways.values()) == {1}


def by_name(drawing: Drawing) -> dict[str, Box]:
    return {said((box.place,))[0]: box for box in drawing.boxes}


def apart(one: Box, other: Box) -> bool:
    pairs = (one, other), (other, one)
    return any(before.x + before.width <= behind.x or before.y + before.height <= behind.y for before, behind in pairs)


ROUTED = [packet(*FORWARDED), packet(at("server POSTROUTING", ">s0"), at("router PREROUTING", "rs>"), at("client INPUT", "c0>"), number=2),
          packet(*LOCAL, number=3), packet(at("router INPUT", "rc>"), at("router OUTPUT", ">rc"), at("router FORWARD", "rc>rs"), number=4),
          packet(at("router INGRESS", "rc>", Family.NETDEV), at("router FORWARD", "rc>rs", Family.IPV6), number=5)]


def test_no_two_boxes_cover_each_other_and_all_are_in_the_picture() -> None:
    drawing = drawn(diagram(ROUTED))
    assert len(drawing.boxes) > 15
    assert not [(one, other) for one in drawing.boxes for other in drawing.boxes if one is not other and not apart(one, other)]
    for box in drawing.boxes:
        panel = next(panel for panel in drawing.panels if panel.netns == box.place.netns)
        assert panel.x <= box.x and box.x + box.width <= panel.x + panel.width <= drawing.width
        assert box.y >= 0
        assert box.y + box.height <= drawing.height


def test_namespaces_stand_in_the_order_in_which_packets_came_to_them() -> None:
    drawing = drawn(diagram(ROUTED))
    assert [panel.netns for panel in drawing.panels] == ["client", "router", "server", "init"]
    assert all(one.x + one.width < other.x for one, other in pairwise(drawing.panels))


def test_points_stand_from_top_to_bottom_as_packets_cross_them() -> None:
    boxes = by_name(drawn(diagram(ROUTED)))
    assert boxes["router INGRESS"].y < boxes["router PREROUTING"].y < boxes["router OUTPUT"].y < boxes["router POSTROUTING"].y
    assert boxes["router INPUT"].y == boxes["router OUTPUT"].y == boxes["client OUTPUT"].y


def test_a_device_stands_at_the_side_that_it_leads_to() -> None:
    boxes = by_name(drawn(diagram(ROUTED)))
    assert boxes["router/rc"].x < boxes["router PREROUTING"].x < boxes["router/rs"].x
    assert boxes["client INPUT"].x < boxes["client/c0"].x
    assert boxes["client OUTPUT"].x < boxes["client INPUT"].x  # where packets come in


def test_a_way_begins_and_ends_at_the_edges_of_its_boxes() -> None:
    found = diagram(ROUTED)
    drawing = drawn(found)
    boxes = {box.place: box for box in drawing.boxes}
    for way, (one, other) in zip(drawing.ways, found.ways, strict=True):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", way.data)]
        for box, (x, y) in ((boxes[one], numbers[:2]), (boxes[other], numbers[-2:])):
            assert box.x - 0.1 <= x <= box.x + box.width + 0.1
            assert box.y - 0.1 <= y <= box.y + box.height + 0.1


def test_a_path_lights_up_its_places_and_the_ways_between_them() -> None:
    found = diagram([packet(*LOCAL)])
    assert drawn(found).lit(path(packet(*LOCAL))) == "n0 n1 n2 n3 w0 w1 w2 w3 n4"


def test_the_last_place_of_a_path_is_its_last_part_even_if_the_packet_was_there_before() -> None:
    tunnelled = packet(at("a POSTROUTING", ">vx"), at("a OUTPUT", ">e"), at("a POSTROUTING", ">e"), end="dropped")
    assert drawn(diagram([tunnelled])).lit(path(tunnelled)) == "n1 n2 w0 w1 w2 n0"


def test_devices_of_a_side_have_room_however_many_they_are() -> None:
    boxes = drawn(diagram([packet(at("a INPUT", f"veth{number}>"), number=number) for number in range(30)])).boxes
    assert len(boxes) == 31
    assert not [(one, other) for one in boxes for other in boxes if one is not other and not apart(one, other)]


def test_of_no_packets_there_is_an_empty_picture() -> None:
    drawing = drawn(diagram([]))
    assert (drawing.boxes, drawing.ways, drawing.panels) == ([], [], [])
