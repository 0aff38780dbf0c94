"""A scenario is data: it round-trips through JSON, and names of scenarios and files lead to one."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given

from harness.errors import UserError
from harness.netfilter import Family, Verdict, VerdictKind
from harness.scenario import BUILTIN, Scenario, dumps, load, loads
from harness.scenario.check import check
from harness.scenario.routing import Hop, lookup, source_address
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.packets import Send, packet_summary
from harness.scenario.topology import ROUTER
from tests.strategies import scenarios


@given(scenarios())
def test_json_round_trip(scenario: Scenario) -> None:
    check(scenario)
    assert loads(dumps(scenario)) == scenario


@pytest.mark.parametrize("scenario", BUILTIN.values(), ids=list(BUILTIN))
def test_built_in_scenarios_are_sound_and_round_trip(scenario: Scenario) -> None:
    assert scenario.summary
    check(scenario)
    assert loads(dumps(scenario)) == scenario


def test_the_default_is_the_router() -> None:
    assert load() is load("router") is next(iter(BUILTIN.values()))


def test_a_scenario_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(dumps(BUILTIN["stolen"]), encoding="utf-8")
    assert load(str(file)) == BUILTIN["stolen"]


def test_errors_in_a_file_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text("{]", encoding="utf-8")
    with pytest.raises(UserError, match=rf"{file}: not JSON: .* line 1, column 2"):
        load(str(file))


def test_an_unknown_name_suggests_a_built_in_scenario() -> None:
    with pytest.raises(UserError, match='no built-in scenario and no file "ruoter"') as caught:
        load("ruoter")
    assert caught.value.hint is not None
    assert 'did you mean "router"' in caught.value.hint


@pytest.mark.parametrize("content", [b"\xff\xfe{}", b"\xef\xbb\xbf{}", b""])
def test_a_file_that_is_not_utf8_json_is_a_user_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mine.json"
    file.write_bytes(content)
    with pytest.raises(UserError, match="not JSON"):
        load(str(file))


def test_a_directory_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="directory"):
        load(str(tmp_path))


def test_left_out_keys_have_defaults() -> None:
    scenario = loads("""{"name": "small", "topology": "pair", "steps": [
        {"do": "register", "id": "a", "netns": "host", "pf": "IPV4", "hook": "INPUT"},
        {"do": "send", "from": "peer", "to": "fd00::1", "cookie": 7}]}""")
    assert scenario.steps == (
        Register("a", "host", Family.IPV4, "INPUT", 0, Verdict(VerdictKind.ACCEPT)),
        Send("peer", "fd00::1", 7, Family.IPV6, "udp", 32, 64, 40000, 9),
    )


def test_packet_summaries() -> None:
    assert packet_summary(ROUTER, Send("client", "server", 1)) == "udp 10.0.1.2:40000 > 10.0.2.2:9, 32 bytes, ttl 64"
    echo = Send("client", "fd00:2::2", 1, Family.IPV6, "echo", ttl=3)
    assert packet_summary(ROUTER, echo) == "icmpv6 echo request fd00:1::2 > fd00:2::2, 32 bytes, ttl 3"


def test_routing_prefers_own_addresses_then_the_longest_prefix() -> None:
    assert lookup(ROUTER, "router", ip_address("10.0.1.1")) == Hop("lo", None)
    assert lookup(ROUTER, "router", ip_address("10.0.2.2")) == Hop("to-server", ip_address("10.0.2.2"))
    assert lookup(ROUTER, "client", ip_address("10.0.2.2")) == Hop("eth0", ip_address("10.0.1.1"))
    assert lookup(ROUTER, "router", ip_address("192.0.2.1")) is None
    assert source_address(ROUTER, "router", ip_address("fd00:2::2")) == ip_address("fd00:2::1")
