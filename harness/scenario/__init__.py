"""Scenarios: a topology and steps, as plain data with a strict JSON form."""

from __future__ import annotations

from harness.scenario.builtin import BUILTIN, load
from harness.scenario.codec import dumps, from_json, loads, to_json
from harness.scenario.steps import Dump, Nft, Register, Scenario, Send, Step, Unregister, destination, packet_summary
from harness.scenario.topology import TOPOLOGIES, End, Link, Route, Topology

__all__ = (
    "BUILTIN", "TOPOLOGIES", "Dump", "End", "Link", "Nft", "Register", "Route", "Scenario", "Send", "Step", "Topology",
    "Unregister", "destination", "dumps", "from_json", "load", "loads", "packet_summary", "to_json",
)
