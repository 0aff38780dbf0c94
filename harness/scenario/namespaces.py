"""Built-in scenarios of namespaces and devices that come and go."""

from __future__ import annotations

from harness.netfilter import Family
from harness.scenario.step import Scenario, Step
from harness.scenario.steps.hooks import Dump, Register
from harness.scenario.steps.namespaces import AddDevice, AddLink, AddNetns, DeleteDevice, DeleteNetns, Keys, MoveDevice
from harness.scenario.steps.packets import Send
from harness.scenario.steps.raw import RawInsert
from harness.scenario.topology import PAIR, VethEnd

__all__ = ("NAMESPACES",)

_V4 = Family.IPV4


def _scenario(name: str, summary: str, *steps: Step) -> Scenario:
    return Scenario(name, summary, PAIR, steps)


NAMESPACES = (
    _scenario("namespaces", "a namespace comes, has hooks and packets, and dies with them; another one takes its name",
          Register("host", "host", _V4, "INPUT"),
          AddNetns("later"),
          AddLink(VethEnd("later", "eth0", ("10.0.9.1/24",)), VethEnd("host", "to-later", ("10.0.9.2/24",))),
          Register("later", "later", _V4, "INPUT"),
          Register("both", "later", Family.INET, "FORWARD"),
          Register("far", "later", Family.NETDEV, "INGRESS", device="eth0"),
          Register("near", "host", Family.NETDEV, "INGRESS", device="to-later"),
          RawInsert("private", "later", "own"),
          Send("host", "later", cookie=1),
          Send("later", "10.0.9.2", cookie=2),
          Keys(),
          DeleteNetns("later"),
          Keys(),
          AddNetns("later"),
          Dump("later", _V4, "INPUT"),
          Send("peer", "host", cookie=3, source_port=40001)),
    _scenario("devices", "a device comes, moves and dies: its hooks stay behind",
          AddDevice("host", "dummy0"),
          Register("one", "host", Family.NETDEV, "INGRESS", device="dummy0"),
          Register("inet", "host", Family.INET, "INGRESS", device="dummy0"),
          Keys(),
          MoveDevice("host", "dummy0", "peer"),
          Register("two", "peer", Family.NETDEV, "INGRESS", device="dummy0"),
          Keys(),
          DeleteDevice("peer", "dummy0"),
          Keys(),
          DeleteDevice("peer", "eth0"),
          Dump("host", _V4, "INPUT")),
)
