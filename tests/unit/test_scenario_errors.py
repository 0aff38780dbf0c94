"""Every mistake in a scenario is one line with its place, and comes with the hint."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.conformance.bundle import load as load_bundle
from harness.errors import ExitCode, UserError
from harness.scenario import from_json, loads
from harness.scenario.builtin import load as load_scenario

SOUND: dict[str, Any] = {
    "name": "sound",
    "topology": {
        "namespaces": ["a", "b"],
        "links": [{"a": {"netns": "a", "device": "veth0", "addresses": ["10.0.0.1/24"]},
                   "b": {"netns": "b", "device": "veth0", "addresses": ["10.0.0.2/24"]}}],
        "routes": [{"netns": "a", "destination": "0.0.0.0/0", "via": "10.0.0.2"}],
        "forwarding": ["b"],
    },
    "steps": [
        {"do": "register", "id": "one", "netns": "b", "pf": "IPV4", "hook": "INPUT", "priority": 0,
         "verdict": {"kind": "drop", "errno": "EPERM"}, "cookie": 1},
        {"do": "register", "id": "two", "netns": "b", "pf": "NETDEV", "hook": "INGRESS", "device": "veth0"},
        {"do": "send", "from": "a", "to": "b", "cookie": 1},
        {"do": "unregister", "id": "one"},
        {"do": "dump", "netns": "b", "pf": "IPV4", "hook": "INPUT"},
        {"do": "nft", "netns": "b", "ruleset": "flush ruleset"},
        {"do": "register-many", "id": "many", "netns": "b", "pf": "IPV4", "hook": "INPUT", "count": 3},
        {"do": "unregister", "id": "many.2"},
        {"do": "raw-insert", "id": "raw", "netns": "a", "array": "x", "verdict": 4294901761},
        {"do": "raw-run", "netns": "a", "array": "x", "start": 1},
        {"do": "raw-delete", "id": "raw"},
        {"do": "register-batch", "netns": "b", "hooks": [{"id": "b1", "pf": "IPV4", "hook": "INPUT"},
                                                         {"id": "b2", "pf": "IPV4", "hook": "INPUT"}]},
        {"do": "register-again", "id": "many.1"},
        {"do": "unregister-batch", "id": "b2"},
        {"do": "unregister-absent", "netns": "b", "pf": "IPV4", "hook": "HOOK9"},
        {"do": "kernel-module", "name": "nf_conntrack", "loaded": False},
        {"do": "ct-run", "netns": "b", "source": "10.0.0.1", "source_port": 1, "destination": "10.0.0.2", "port": 2, "own": ["hooks"]},
        {"do": "tee", "netns": "b", "to": "a"},
        {"do": "redirect", "netns": "b", "to": 10},
        {"do": "raw-insert", "id": "listed", "netns": "a", "array": "z", "packet": 2},
        {"do": "raw-list", "netns": "a", "array": "z", "packets": 3},
        {"do": "register-together", "first": {"id": "t1", "netns": "b", "pf": "IPV4", "hook": "INPUT"},
         "second": {"id": "t2", "netns": "b", "pf": "IPV6", "hook": "INPUT"}},
        {"do": "unregister-together", "first": "t1", "second": "two"},
        {"do": "memory"},
    ],
}

MISTAKES: list[tuple[str, object, str, str]] = [
    ("name", "", "name: a scenario's name has 1 to 64 characters", ""),
    ("nme", 1, 'unknown key "nme"', 'did you mean "name"?'),
    ("steps", {}, "steps: expected a list, found an object", ""),
    ("topology", "ruoter", "topology: unknown topology 'ruoter'", 'did you mean "router"?'),
    ("topology.namespaces", ["a", "b", "b"], 'topology.namespaces[2]: "b" appears twice', "remove"),
    ("topology.namespaces", ["a", "b", "c/d"], 'topology.namespaces[2]: "c/d" is no name for a namespace', "letters"),
    ("topology.namespaces", [], "topology.namespaces: a topology has at least one namespace", ""),
    ("topology.links.0.b.netns", "bb", 'topology.links[0].b.netns: no namespace "bb" in the topology "own"', "namespaces: a, b"),
    ("topology.links.0.b.device", "lo", 'topology.links[0].b.device: "lo" is no name for a device', "15 at most"),
    ("topology.links.0.b.netns", "a", 'topology.links[0].b.device: a already has a device "veth0"', "another name"),
    ("topology.links.0.a.addresses", ["10.0.0.300/24"],
     'topology.links[0].a.addresses[0]: "10.0.0.300/24" is no address with a prefix length', "10.0.1.2/24"),
    ("topology.links.0.a.addresses", ["10.0.0.1"],
     'topology.links[0].a.addresses[0]: "10.0.0.1" has no prefix length', "10.0.0.1/24"),
    ("topology.links.0.a.addresses", ["10.0.0.2/24"],
     "topology.links[0].b.addresses[0]: 10.0.0.2 is already the address at topology.links[0].a.addresses[0]", "its own"),
    ("topology.routes.0.destination", "10.0.0.1/24", 'topology.routes[0].destination: "10.0.0.1/24" is no network', "host bits"),
    ("topology.routes.0.via", "10.0.0.9",
     "topology.routes[0].via: 10.0.0.9 is no IPv4 address at the other end of a link of a", "neighbours: 10.0.0.2"),
    ("topology.forwarding", ["c"], 'topology.forwarding[0]: no namespace "c" in the topology "own"', "namespaces: a, b"),
    ("steps.8.verdict", -1, "steps[8].verdict: -1 is out of range", "4294967295"),
    ("steps.8.verdict", "acept", "steps[8].verdict: unknown value \"acept\"", 'did you mean "accept"?'),
    ("steps.8.id", "many.1", 'steps[8].id: "many.1" is already the id of a hook of steps[6]', "another id"),
    ("steps.19.packet", 17, "steps[19].packet: 17 is out of range (1 … 16)", ""),
    ("steps.20.packets", 0, "steps[20].packets: 0 is out of range (1 … 16)", ""),
    ("steps.20.array", "y", 'steps[20].array: no step before has put a hook into an array "y" of a', "arrays: x, z"),
    ("steps.21.second.netns", "a", "steps[21].second.netns: the two hooks are in two namespaces", "one for both"),
    ("steps.21.second.id", "t1", 'steps[21].second.id: "t1" is already the id of a hook of steps[21]', "another id"),
    ("steps.22.second", "t1", "steps[22].second: both hooks must be in the same namespace, and different", "another one"),
    ("steps.22.second", "many.1", 'steps[22].second: "many.1" is registered more than once', "alone"),
    ("steps.22.first", "one", 'steps[22].id: "one" is already unregistered', "registered here"),
    ("steps.9.array", "y", 'steps[9].array: no step before has put a hook into an array "y" of a', "arrays: x"),
    ("steps.10.id", "one", 'steps[10].id: "one" is no hook in a private array before this step', "inserted: raw"),
    ("steps.10.array", "x", 'steps[10].array: "raw" is in this array', "remove the key"),
    ("steps.11.hooks.1.id", "b1", 'steps[11].hooks[1].id: "b1" is already the id of a hook of steps[11]', "another id"),
    ("steps.11.hooks.1.device", "veth9", 'steps[11].hooks[1].device: no device "veth9" in the namespace "b"', "devices: lo, veth0"),
    ("steps.12.id", "many.2", 'steps[12].id: "many.2" is already unregistered', "registered here"),
    ("steps.13.id", "two", 'steps[13].id: "two" came in no batch, or not all of it is registered once', "one by one"),
    ("steps.14.hook", "HOOKX", 'steps[14].hook: unknown value "HOOKX"', "values"),
    ("steps.0.do", "regsiter", "steps[0].do: unknown step 'regsiter'", 'did you mean "register"?'),
    ("steps.0.do", None, "steps[0].do: expected a string, found null", ""),
    ("steps.0.prio", 3, 'steps[0]: unknown key "prio"', 'did you mean "priority"?'),
    ("steps.0.priority", 2147483648, "steps[0].priority: 2147483648 is out of range (-2147483648 … 2147483647)", "write a number"),
    ("steps.0.priority", True, "steps[0].priority: expected a whole number, found true or false (true)", ""),
    ("steps.0.priority", 1.0, "steps[0].priority: expected a whole number, found a fraction (1.0)", ""),
    ("steps.0.pf", "IPv4", 'steps[0].pf: unknown value "IPv4"', 'did you mean "IPV4"?'),
    ("steps.0.hook", "INGRESS", 'steps[0].hook: unknown value "INGRESS"', "FORWARD, INPUT"),
    ("steps.0.netns", "c", 'steps[0].netns: no namespace "c" in the topology "own"', "namespaces: a, b"),
    ("steps.0.device", "veth0", "steps[0].device: IPV4 INPUT belongs to no device", "remove it"),
    ("steps.0.id", "", 'steps[0].id: "" is no hook id', "1 to 64"),
    ("steps.0.id", "a\nb", 'steps[0].id: "a\\nb" is not one printable line', "remove"),
    ("steps.0.verdict", "dorp", 'steps[0].verdict: unknown value "dorp"', 'did you mean "drop"?'),
    ("steps.0.verdict.errno", "EHOSTUNREAHC",
     "steps[0].verdict.errno: unknown errno 'EHOSTUNREAHC'", 'did you mean "EHOSTUNREACH"?'),
    ("steps.0.verdict.errno", -113, "steps[0].verdict.errno: an errno is given by its name, not as -113", 'write "EHOSTUNREACH"'),
    ("steps.0.verdict.errno", "-EPERM", "steps[0].verdict.errno: '-EPERM': an errno has no sign here", 'write "EPERM"'),
    ("steps.0.verdict", {"kind": "accept", "errno": "EPERM"}, "steps[0].verdict.errno: accept carries no errno", "remove it"),
    ("steps.0.verdict", {"kind": "queue", "queue": 65536}, "steps[0].verdict.queue: 65536 is out of range (0 … 65535)", ""),
    ("steps.0.cookie", 9, "steps[0].cookie: no packet of the scenario carries the cookie 9", "sent: 1"),
    ("steps.1.device", "vteh0",
     'steps[1].device: no device "vteh0" in the namespace "b"', 'did you mean "veth0"? devices: lo, veth0'),
    ("steps.1.device", ..., 'steps[1]: the key "device" is missing: NETDEV INGRESS belongs to a device', "devices in b: lo, veth0"),
    ("steps.1.id", "one", 'steps[1].id: "one" is already the id of a hook of steps[0]', "another id"),
    ("steps.2.from", "c", 'steps[2].from: no namespace "c" in the topology "own"', ""),
    ("steps.2.to", "c", 'steps[2].to: "c" is neither a namespace of the topology nor an address', "namespaces: a, b"),
    ("steps.2.to", "10.0.0.7", "steps[2].to: no namespace has the address 10.0.0.7", "addresses: 10.0.0.1, 10.0.0.2"),
    ("steps.2.pf", "IPV6", "steps[2].to: b has no IPV6 address", "addresses:"),
    ("steps.2.pf", "ARP", 'steps[2].pf: unknown value "ARP"', "IPV4, IPV6"),
    ("steps.2.size", 15, "steps[2].size: 15 is out of range (16 … 16384)", ""),
    ("steps.2.ttl", 0, "steps[2].ttl: 0 is out of range (1 … 255)", ""),
    ("steps.2.cookie", ..., 'steps[2]: the key "cookie" is missing', "keys: do, from, to, cookie"),
    ("steps.3.id", "three", 'steps[3].id: "three" is no hook registered before this step', "registered here: one, two"),
    ("steps.4", {"do": "unregister", "id": "one"}, 'steps[4].id: "one" is already unregistered', "registered here: two"),
    ("steps.4.pf", "INET", "steps[4].pf: INET has no array at this point", "dump IPV4 or IPV6"),
    ("steps.5", {"do": "send", "from": "a", "to": "b", "cookie": 1},
     "steps[5].cookie: 1 is already the cookie of steps[2]", "its own"),
    ("steps.6.count", 2049, "steps[6].count: 2049 is out of range (1 … 2048)", ""),
    ("steps.6.count", 1, 'steps[7].id: "many.2" is no hook registered before this step', 'did you mean "many.1"?'),
    ("steps.6.hook", "INGRESS", 'steps[6].hook: unknown value "INGRESS"', "PREROUTING"),
    ("steps.6.id", "x" * 64, "steps[6].id: ", "1 to 64 characters"),
    ("steps.1.id", "many.3", 'steps[6].id: "many.3" is already the id of a hook of steps[1]', "another id"),
    ("steps.5.ruleset", "\ud800", "steps[5].ruleset: has half of a surrogate pair", ""),
    ("steps.15.name", "nf_contrack", "steps[15].name: unknown value", 'did you mean "nf_conntrack"?'),
    ("steps.15.loaded", True, "steps[15]: no step before says whether nf_conntrack is loaded", '"loaded": false'),
    ("steps.16.own", ["hooks", "hooks"], "steps[16].own: lists a value twice", "remove"),
    ("steps.16.own", ["orphan"], "steps[16].own: an orphan is the module's connection", '["connection", "orphan"]'),
    ("steps.16.own", ["connection", "untracked"], "steps[16].own: what is not tracked has no connection", "remove"),
    ("steps.16.track", True, "steps[16].own: track is about nf_conntrack's own connections", "remove"),
    ("steps.16.source", "fd00::1", 'steps[16].source: "fd00::1" is no IPv4 address', "10.0.0.2"),
    ("steps.17.to", "b", 'steps[17].to: "b" is not at the other end of a link of b', "neighbours: a"),
    ("steps.18.to", 9, "steps[18].to: 9 is the port that is redirected", "another"),
    ("steps.18.priority", -200, "steps[18].priority: -200 is out of range (-199 … 199)", ""),
]


def altered(path: str, value: object, sound: dict[str, Any] = SOUND) -> dict[str, Any]:
    """A document with one place changed; ``...`` removes it."""
    document: Any = copy.deepcopy(sound)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = document
    for part in parents:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return dict(document)


def test_the_document_without_a_mistake_is_sound() -> None:
    assert len(from_json(SOUND).steps) == len(SOUND["steps"])


@pytest.mark.parametrize(("path", "value", "message", "hint"), MISTAKES,
                         ids=[f"{case[0]}={str(case[1])[:20]!a}" for case in MISTAKES])
def test_a_mistake_is_named_with_its_place_and_hint(path: str, value: object, message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        from_json(altered(path, value))
    assert caught.value.message.startswith(message)
    assert "\n" not in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code is ExitCode.USER_ERROR


@pytest.mark.parametrize(("text", "message"), [
    ("", "not JSON: Expecting value at line 1, column 1"),
    ('{"name": "x",\n}', "not JSON: .* at line "),
    ("[1, 2", "not JSON: .* at line 1, column 6"),
    ('{"name": "x", "name": "y"}', 'the key "name" appears twice'),
    ('{"name": NaN}', "not JSON: NaN is no JSON number"),
    ("[" * 100_000, "not a scenario: nested too deeply"),
    ("1" * 5000, "not JSON: "),
    ("[]", "expected an object, found a list"),
    ("{}", 'the key "name" is missing'),
])
def test_text_that_is_no_scenario(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        loads(text)
    assert "\n" not in caught.value.message


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _paths(value: Any, path: str = "") -> list[str]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, child in children for found in (f"{path}{key}", *_paths(child, f"{path}{key}."))]


@given(st.sampled_from(_paths(SOUND)), _json)
def test_no_value_anywhere_escapes_as_another_error(path: str, value: object) -> None:
    document = altered(path, value)
    try:
        scenario = from_json(document)
    except UserError as error:
        assert "\n" not in error.message + (error.hint or "")
    else:
        assert loads(json.dumps(document)) == scenario


LAYERED: dict[str, Any] = {
    "name": "layered",
    "topology": {
        "namespaces": ["a", "b", "c"],
        "links": [{"a": {"netns": "a", "device": "eth0", "addresses": ["10.0.0.1/24"]}, "b": {"netns": "b", "device": "p1"}},
                  {"a": {"netns": "c", "device": "eth0"}, "b": {"netns": "b", "device": "p2"}}],
        "vlans": [{"netns": "c", "device": "eth0.5", "link": "eth0", "id": 5, "addresses": ["10.0.5.3/24"]}],
        "bridges": [{"netns": "b", "device": "br0", "ports": ["p1", "p2"], "addresses": ["10.0.0.2/24"], "netfilter": ["IPV4"]}],
    },
    "steps": [
        {"do": "arp", "from": "a", "sender": "10.0.0.1", "target": "10.0.0.2"},
        {"do": "frame", "from": "a", "device": "eth0", "to": "broadcast", "cookie": 1},
        {"do": "send", "from": "a", "to": "b", "cookie": 2, "size": 4000},
    ],
}


@pytest.mark.parametrize(("path", "value", "message", "hint"), [
    ("topology.vlans.0.link", "eth1", 'topology.vlans[0].link: no device "eth1" in the namespace "c"', 'did you mean "eth0"?'),
    ("topology.vlans.0.link", "eth0.5", 'topology.vlans[0].link: "eth0.5" is a VLAN that comes later', "before"),
    ("topology.vlans.0.id", 4095, "topology.vlans[0].id: 4095 is out of range (1 … 4094)", ""),
    ("topology.vlans.0.device", "eth0", 'topology.vlans[0].device: c already has a device "eth0"', "another name"),
    ("topology.vlans.0.addresses", ["10.0.0.1/24"],
     "topology.vlans[0].addresses[0]: 10.0.0.1 is already the address at topology.links[0].a.addresses[0]", "its own"),
    ("topology.bridges.0.ports", [], "topology.bridges[0].ports: a bridge has at least one port", "name a device"),
    ("topology.bridges.0.ports.1", "p3", 'topology.bridges[0].ports[1]: no device "p3" in the namespace "b"', "devices"),
    ("topology.bridges.0.ports.1", "p1", 'topology.bridges[0].ports[1]: "p1" is a port already', "once"),
    ("topology.bridges.0.ports.1", "br0", 'topology.bridges[0].ports[1]: "br0" is a bridge, which cannot be a port', "link"),
    ("topology.bridges.0.netfilter", ["INET"], 'topology.bridges[0].netfilter[0]: unknown value "INET"', "IPV4"),
    ("topology.links.0.b.addresses", ["10.0.0.9/24"], 'topology.bridges[0].ports[0]: "p1" has addresses', "to the bridge"),
    ("topology.links.1.a", {"netns": "b", "device": "p3"}, "topology.vlans[0].link", ""),
    ("topology.links.0.gro", 1, "topology.links[0].gro: expected true or false", ""),
    ("steps.0.sender", "10.0.0.2", "steps[0].sender: 10.0.0.2 is no address of a", "addresses: 10.0.0.1"),
    ("steps.0.target", "fd00::1", 'steps[0].target: "fd00::1" is no IPv4 address', "10.0.0.2"),
    ("steps.0.target", "10.0.0.1", "steps[0].target: 10.0.0.1 is the asker's own", "neighbour"),
    ("steps.1", {"do": "arp", "from": "a", "sender": "10.0.0.1", "target": "10.0.0.2"},
     "steps[1]: steps[0] is about these two addresses already", "once"),
    ("steps.1.to", "b/br1", 'steps[1].to: "b/br1" is nobody\'s address', 'did you mean "b/br0"?'),
    ("steps.1.device", "lo", "steps[1].device: lo leads nowhere else", "link"),
    ("steps.1.vlan", 0, "steps[1].vlan: 0 is out of range (1 … 4094)", ""),
    ("steps.2.size", 4001, "steps[2].size: 4001 is no multiple of 8, at which a packet is cut", "write 4000"),
    ("steps.2.kind", "echo", "steps[2].size: an echo request is sent whole, not in 4000 bytes", "1400"),
    ("steps.1.to", "multicasts", 'steps[1].to: "multicasts" is nobody\'s address', 'did you mean "multicast"?'),
    ("steps.2", {"do": "send", "from": "a", "to": "b", "cookie": 2, "group": "some"}, 'steps[2].group: unknown value "some"', "multicast"),
    ("steps.2", {"do": "send", "from": "a", "to": "a", "cookie": 2, "group": "multicast"},
     "steps[2].group: a is not at the other end of a link of a", "namespace"),
    ("steps.2.segment", 1001, "steps[2].segment: 1001 is no multiple of 8", "write 1000"),
    ("steps.2", {"do": "send", "from": "a", "to": "b", "cookie": 2, "size": 4000, "segment": 1000, "fragment": 1000},
     "steps[2].segment: a packet goes in fragments or in segments", "remove"),
    ("steps.2", {"do": "send", "from": "a", "to": "b", "cookie": 2, "size": 800, "segment": 1000},
     "steps[2].segment: 800 bytes are not 2 to 64 segments of 1000", "change"),
    ("steps.2", {"do": "send", "from": "a", "to": "b", "cookie": 2, "size": 800, "fragment": 400},
     "steps[2].size: the last piece of 800 bytes would have 8, too few for the cookie", "792"),
    ("steps.2", {"do": "send", "from": "a", "to": "b", "cookie": 2, "size": 2960},
     "steps[2].size: the last piece of 2960 bytes would have 8", "2952"),
    ("steps.2", {"do": "send", "from": "a", "to": "b", "cookie": 2, "size": 800, "fragment": 808},
     "steps[2].fragment: 800 bytes and the header of UDP fit into one", "smaller"),
], ids=str)
def test_a_mistake_about_devices_that_stand_on_others_is_named_too(path: str, value: object, message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        from_json(altered(path, value, LAYERED))
    assert caught.value.message.startswith(message)
    assert hint in (caught.value.hint or "")


def test_bridges_that_are_joined_twice_are_refused() -> None:
    document = copy.deepcopy(LAYERED)
    document["topology"]["links"].append({"a": {"netns": "c", "device": "eth1"}, "b": {"netns": "b", "device": "p3"}})
    document["topology"]["bridges"][0]["ports"].append("p3")
    document["topology"]["bridges"].append({"netns": "c", "device": "br1", "ports": ["eth0", "eth1"]})
    with pytest.raises(UserError, match="what leaves br0 by \"p2\" comes back to it"):
        from_json(document)


def test_bridges_of_one_namespace_agree_about_br_netfilter() -> None:
    document = copy.deepcopy(LAYERED)
    document["topology"]["bridges"][0]["ports"] = ["p1"]
    document["topology"]["bridges"].append({"netns": "b", "device": "br1", "ports": ["p2"]})
    with pytest.raises(UserError, match="br0 in the same namespace has another one"):
        from_json(document)


@pytest.mark.parametrize("read", [load_scenario, load_bundle], ids=["scenario", "bundle"])
def test_a_file_without_an_end_is_not_read_to_it(read: Callable[[Any], object]) -> None:
    with pytest.raises(UserError, match='"/dev/zero": more than 64 MiB'):
        read(Path("/dev/zero"))
