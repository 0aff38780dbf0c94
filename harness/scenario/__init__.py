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

The life of a scenario: ``codec`` reads it from JSON, each step by its kind (``steps``); ``check`` looks at it in full, step after step,
with what the steps before have brought about (``scope``). Model and executor then ask each step for its facts (``step``), and where its
packets go (``routing``). ``builtin`` is the scenarios that come with nfharness: ``namespaces``, ``layers``, ``queues``, ``raw``, with
``rulesets`` that rules load, too. ``reader`` reads JSON strictly; ``keys``, ``verdicts``, ``topologies`` and ``addresses`` read what
several steps have.

Read ``topology``, ``step``, ``steps.hooks``, then ``codec`` and ``check``.
"""

from __future__ import annotations

from harness.scenario.builtin import BUILTIN, load
from harness.scenario.codec import dumps, from_json, loads, to_json
from harness.scenario.step import Scenario, Step
from harness.scenario.topology import TOPOLOGIES, Link, Route, Topology, VethEnd

__all__ = (
    "BUILTIN",
    "TOPOLOGIES",
    "Link",
    "Route",
    "Scenario",
    "Step",
    "Topology",
    "VethEnd",
    "dumps",
    "from_json",
    "load",
    "loads",
    "to_json",
)
