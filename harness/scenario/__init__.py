"""Scenarios: a topology and steps, as plain data with a strict JSON form.

    {"name": "guarded", "topology": "router", "steps": [
        {"do": "nft", "netns": "router", "ruleset": "table ip t { … }"},
        {"do": "register", "id": "guard", "netns": "router", "pf": "IPV4", "hook": "FORWARD", "priority": -10,
         "verdict": {"kind": "drop", "errno": "EHOSTUNREACH"}, "cookie": 1},
        {"do": "send", "from": "client", "to": "server", "cookie": 1},
        {"do": "unregister", "id": "guard"},
        {"do": "dump", "netns": "router", "pf": "IPV4", "hook": "FORWARD"},
        {"do": "raw-insert", "id": "odd", "netns": "router", "array": "private", "verdict": 4294901761},
        {"do": "raw-run", "netns": "router", "array": "private", "start": 0},
        {"do": "raw-delete", "id": "odd"},
        {"do": "listen", "netns": "router", "queue": 7},
        {"do": "register", "id": "ask", "netns": "router", "pf": "IPV4", "hook": "FORWARD", "verdict": {"kind": "queue", "queue": 7}},
        {"do": "send", "from": "client", "to": "server", "cookie": 2, "source_port": 40001},
        {"do": "answer", "netns": "router", "queue": 7, "verdict": "repeat"},
        {"do": "hang-up", "netns": "router", "queue": 7}]}

A topology is the name of a built-in one, or its own ``namespaces``, ``links``, ``routes`` and ``forwarding``. What a step may say
further is in :mod:`harness.scenario.steps`.
"""

from __future__ import annotations

from harness.scenario.builtin import BUILTIN, load
from harness.scenario.codec import dumps, from_json, loads, to_json
from harness.scenario.steps import (
    Dump,
    Nft,
    RawDelete,
    RawInsert,
    RawRun,
    Register,
    RegisterMany,
    Scenario,
    Send,
    Step,
    Unregister,
    destination,
    packet_summary,
)
from harness.scenario.topology import TOPOLOGIES, End, Link, Route, Topology

__all__ = (
    "BUILTIN", "TOPOLOGIES", "Dump", "End", "Link", "Nft", "RawDelete", "RawInsert", "RawRun", "Register", "RegisterMany", "Route",
    "Scenario", "Send", "Step", "Topology", "Unregister", "destination", "dumps", "from_json", "load", "loads", "packet_summary", "to_json",
)
