"""Where each part of a :mod:`harness.walks.diagram` stands in a picture: boxes with their sizes, ways as paths of SVG.

A namespace is a panel, from left to right in the order in which packets came to them. In it hook points stand from top to bottom in
the order in which packets cross them, INPUT, FORWARD and OUTPUT side by side, and a row is the same points in every panel. Devices stand
at the side of the panel that faces the namespace that they lead to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter

from harness.netfilter import Family
from harness.walks.diagram import Device, Diagram, DrawnPoint, Place

__all__ = ("Box", "Drawing", "Panel", "Way", "drawn")

#: In pixels: a hook point's box, a device's, and what is kept free between and around them.
_BOX_W, _BOX_H, _CHIP_H, _COLUMN, _ROW, _SIDE, _PAD, _TITLE, _BETWEEN = 144, 38, 20, 14, 30, 36, 12, 26, 56
_LETTER = 6.7
_BEND = 28
_FAMILIES = (Family.INET, Family.BRIDGE, Family.ARP, Family.IPV4, Family.IPV6)


@dataclass(frozen=True, slots=True)
class Box:
    """A hook point or a device.

    :param id: the id of its element
    :param label: its name
    :param packets: how many packets came by
    :param dropped: how many of them a hook dropped or rejected there
    """

    id: str
    place: Place
    label: str
    packets: int
    dropped: int
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The y coordinate of the box's middle."""
        return self.y + self.height / 2

    @property
    def centre(self) -> float:
        """The x coordinate of the box's centre."""
        return self.x + self.width / 2

    @property
    def is_device(self) -> bool:
        return isinstance(self.place, Device)


@dataclass(frozen=True, slots=True)
class Way:
    """A way between two places.

    :param id: of its element
    :param data: ``d`` of SVG's ``path``
    :param packets: that took it
    """

    id: str
    data: str
    packets: int


@dataclass(frozen=True, slots=True)
class Panel:
    """A namespace."""

    netns: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture, from 0,0 on.

    :param ids: of the elements of places and of ways
    """

    width: float
    height: float
    panels: Sequence[Panel]
    boxes: Sequence[Box]
    ways: Sequence[Way]
    ids: Mapping[Place | tuple[Place, Place], str]

    def lit(self, places: Sequence[Place]) -> str:
        """Ids of what a packet's path lights up: places and the ways between them, its last place last."""
        parts = dict.fromkeys((*places, *pairwise(places)))
        return " ".join(self.ids[part] for part in (*(part for part in parts if part != places[-1]), *places[-1:]))


def drawn(diagram: Diagram) -> Drawing:
    """The picture of a session."""
    netns = list(dict.fromkeys(place.netns for place in diagram.places))
    rows = sorted({_row(place) for place in diagram.places if isinstance(place, DrawnPoint)})
    left = _on_the_left(diagram, netns)
    sides = Counter((place.netns, place in left) for place in diagram.places if isinstance(place, Device))
    height = _TITLE + max(_PAD + len(rows) * (_BOX_H + _ROW), (max(sides.values(), default=0) + 1) * (_CHIP_H + _COLUMN))
    ids: dict[Place | tuple[Place, Place], str] = {place: f"n{number}" for number, place in enumerate(diagram.places)}
    ids |= {way: f"w{number}" for number, way in enumerate(diagram.ways)}
    panels, boxes = list[Panel](), dict[Place, Box]()
    x = 1.0
    for name in netns:
        own = [place for place in diagram.places if place.netns == name]
        layout = _Layout(x, height, rows, left)
        placed = layout.of(own)
        boxes |= {place: Box(ids[place], place, _label(place), diagram.places[place], diagram.dropped.get(place, 0), *placed[place])
                  for place in own}
        panels.append(Panel(name, x, layout.width))
        x += layout.width + _BETWEEN
    curves = _Curves(boxes, left)
    ways = [Way(ids[way], curves.between(*way), count) for way, count in diagram.ways.items()]
    return Drawing(max(x - _BETWEEN + 1, 1), height, panels, list(boxes.values()), ways, ids)


def _row(point: DrawnPoint) -> tuple[int, int]:
    """Family by family, in each as a packet crosses them; netdev's before and behind all others."""
    if point.pf is Family.NETDEV:
        return (-1, point.stage) if point.name == "INGRESS" else (len(_FAMILIES) + 1, point.stage)
    family = _FAMILIES.index(point.pf) if point.pf in _FAMILIES else len(_FAMILIES)
    return family, point.stage - (point.name == "OUTPUT")  # beside INPUT and FORWARD


def _on_the_left(diagram: Diagram, netns: Sequence[str]) -> frozenset[Place]:
    """Devices that lead to namespaces on the left of the device's, and to none on the right."""
    leads: dict[Place, set[bool]] = {}
    for one, other in diagram.ways:
        if one.netns != other.netns:
            before = netns.index(one.netns) < netns.index(other.netns)
            leads.setdefault(one, set()).add(before)
            leads.setdefault(other, set()).add(not before)
    return frozenset(place for place, right in leads.items() if isinstance(place, Device) and right == {False})


def _label(place: Place) -> str:
    if isinstance(place, Device):
        return place.name
    return place.name if place.pf is Family.IPV4 else f"{place.pf.name} {place.name}"


class _Layout:
    """Places the parts of one panel.

    :ivar width: of the panel, known when they are
    """

    def __init__(self, x: float, height: float, rows: Sequence[tuple[int, int]], left: frozenset[Place]) -> None:
        self._x, self._height, self._rows, self._left = x, height, rows, left
        self.width = 0.0

    def of(self, places: Sequence[Place]) -> dict[Place, tuple[float, float, float, float]]:
        """Left edge, top, width and height of each."""
        points = [place for place in places if isinstance(place, DrawnPoint)]
        devices = [place for place in places if isinstance(place, Device)]
        on_left, on_right = [one for one in devices if one in self._left], [one for one in devices if one not in self._left]
        inner = max((self._count(points, row) for row in self._rows), default=0)
        core = inner * (_BOX_W + _COLUMN) - _COLUMN if inner else 0
        before, behind = _columns(on_left), _columns(on_right)
        self.width = max(2 * _PAD + before + core + behind, _BOX_W)
        found = self._chips(on_left, self._x + _PAD) | self._chips(on_right, self._x + self.width - _PAD - max(behind - _SIDE, 0))
        for number, row in enumerate(self._rows):
            abreast = sorted((one for one in points if _row(one) == row), key=attrgetter("stage", "hook"))
            if not on_left:  # INPUT is where packets come from
                abreast.reverse()
            edge = self._x + _PAD + before + (core - (len(abreast) * (_BOX_W + _COLUMN) - _COLUMN)) / 2
            for place, point in enumerate(abreast):
                found[point] = edge + place * (_BOX_W + _COLUMN), _TITLE + _PAD + number * (_BOX_H + _ROW), _BOX_W, _BOX_H
        return found

    def _chips(self, devices: Sequence[Device], x: float) -> dict[Place, tuple[float, float, float, float]]:
        """Devices of one side, one below the other; all as wide as the longest name wants."""
        width = _columns(devices) - _SIDE
        step = (self._height - _TITLE) / (len(devices) + 1)
        return {one: (x, _TITLE + number * step - _CHIP_H / 2, width, _CHIP_H) for number, one in enumerate(devices, 1)}

    @staticmethod
    def _count(points: Iterable[DrawnPoint], row: tuple[int, int]) -> int:
        return sum(_row(point) == row for point in points)


def _columns(devices: Sequence[Device]) -> float:
    """The width that devices of one side take, with what is kept free beside them."""
    return max(len(one.name) for one in devices) * _LETTER + 14 + _SIDE if devices else 0.0


class _Curves:
    """Draws ways between boxes.

    :param left: devices at the left side of their panels
    """

    def __init__(self, boxes: Mapping[Place, Box], left: frozenset[Place]) -> None:
        self._boxes, self._left = boxes, left

    def between(self, one: Place, other: Place) -> str:
        """A way's curve, from one box's edge to the other's."""
        begin, end = self._boxes[one], self._boxes[other]
        if begin.is_device and end.is_device:
            shift = 4 if begin.x > end.x else -4  # one direction above the other
            return _cubic(self._edge(begin, outside=True, shift=shift), self._edge(end, outside=True, shift=shift), _BEND)
        if begin.is_device:
            return self._to_device(end, begin, arrives=True)
        if end.is_device:
            return self._to_device(begin, end, arrives=False)
        if one.netns == other.netns and 0 < end.y - begin.y < 2 * (_BOX_H + _ROW):
            return _cubic((begin.centre, begin.y + _BOX_H, 0, 1), (end.centre, end.y, 0, -1), _ROW / 2)
        above = begin.x == end.x  # round the boxes between them
        return _cubic((begin.x + _BOX_W, begin.middle, 1, 0), (end.x + _BOX_W * above, end.middle, 1 if above else -1, 0), 1.5 * _BEND)

    def _edge(self, chip: Box, *, outside: bool, shift: float = 0) -> tuple[float, float, int, int]:
        """The edge of a device that is its panel's, or that faces its panel's points; and the direction away from it."""
        to_left = (chip.place in self._left) == outside
        return chip.x + (0 if to_left else chip.width), chip.middle + shift, -1 if to_left else 1, 0

    def _to_device(self, point: Box, chip: Box, *, arrives: bool) -> str:
        """The curve between a point and a device of its panel, along the point's row.

        :param arrives: at the point
        """
        x, _, away, _ = device = self._edge(chip, outside=False)
        side = point.x if away > 0 else point.x + point.width
        across = [box for box in self._boxes.values() if box.place.netns == point.place.netns and box.y == point.y
                  and not box.is_device and min(x, side) < box.centre < max(x, side)]
        if across:
            return _round(point, across, device, arrives=arrives)
        place, reach = (side, point.middle, -away, 0), max(abs(x - side), _BEND) - _BEND / 2
        return _cubic(device, place, _BEND / 2, reach) if arrives else _cubic(place, device, reach, _BEND / 2)


def _round(point: Box, across: Sequence[Box], device: tuple[float, float, int, int], *, arrives: bool) -> str:
    """The curve between a point and a device with other points in its way: above those where it arrives at the point, else below.

    :param device: its edge, as of :func:`_cubic`
    """
    away = device[2]
    edge, lane = (point.y, point.y - _ROW / 3) if arrives else (point.y + _BOX_H, point.y + _BOX_H + _ROW / 3)
    free = min(box.x for box in across) if away > 0 else max(box.x + _BOX_W for box in across)
    at, turn = f"{point.centre:.1f}", f"{point.centre - away * _BEND / 2:.1f} {lane:.1f}"
    if arrives:
        return f"{_cubic(device, (free, lane, -away, 0), _BEND / 2)}L{turn}Q{at} {lane:.1f} {at} {edge:.1f}"
    return f"M{at} {edge:.1f}Q{at} {lane:.1f} {turn}" + _cubic((free, lane, -away, 0), device, _BEND / 2).replace("M", "L")


def _cubic(begin: tuple[float, float, int, int], end: tuple[float, float, int, int], bend: float, reach: float | None = None) -> str:
    """A cubic Bézier curve.

    :param begin: x, y, and the direction in which it leaves
    :param end: x, y, and the direction from which it comes
    :param bend: how far it keeps to the first direction
    :param reach: and to the second one; as far where it is not given
    """
    (ax, ay, adx, ady), (bx, by, bdx, bdy) = begin, end
    reach = bend if reach is None else reach
    numbers = (ax, ay, ax + adx * bend, ay + ady * bend, bx + bdx * reach, by + bdy * reach, bx, by)
    return "M{:.1f} {:.1f}C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}".format(*numbers)
