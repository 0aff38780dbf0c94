"""Reference profiles: what departs from them, what explains it, and that no fault passes for another kind of kernel."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.conformance import RULES, matrix, reference
from harness.conformance.judge import State
from harness.conformance.matrix import RuleResult, Target
from harness.conformance.profiles import compared
from harness.conformance.reference import FIELDS, Deviation, Reference, departures, load, names, nearest, record
from harness.conformance.report import exit_code, junit, ktap, missed
from harness.conformance.selection import Selection
from harness.errors import UserError
from harness.netfilter import Family
from tests.unit.targets import target as kernel
from tests.unit.test_conformance_matrix import Guests, guests

__all__ = ("guests",)

DEBIAN = load("6.12")
#: Of the configuration of Debian's 6.12, those that profiles depend on.
OPTIONS = {"NETFILTER_INGRESS": "y", "NETFILTER_EGRESS": "y", "NETFILTER_FAMILY_ARP": "y", "NETFILTER_FAMILY_BRIDGE": "y",
           "NETFILTER_NETLINK_HOOK": "m", "NETFILTER_BPF_LINK": "y", "JUMP_LABEL": "y", "DEBUG_MISC": "y", "BRIDGE": "m", "VLAN_8021Q": "m",
           "BRIDGE_NETFILTER": "m", "NF_CONNTRACK": "m", "NF_NAT": "m", "NF_CT_NETLINK": "m", "NETFILTER_NETLINK_GLUE_CT": "y",
           "NFT_NAT": "m", "NFT_REDIR": "m", "NF_TABLES_IPV4": "y", "NFT_DUP_IPV4": "m"}


def found(options: Mapping[str, str] | None = OPTIONS, *allowed: str, like: Reference = DEBIAN, **changed: Any) -> list[Deviation]:
    return list(departures(replace(DEBIAN.profile, **changed), [like], options, allowed))


def off(*names: str) -> dict[str, str]:
    return {name: value for name, value in OPTIONS.items() if name not in names}


def test_an_unchanged_kernel_does_not_depart() -> None:
    assert found() == []
    assert found(None) == []


def test_references_of_debian_s_series_ship_with_the_package() -> None:
    assert {"5.10", "6.1", "6.12", "7.1", "7.2", "7.3"} <= set(names())
    assert all(load(name).profile.unprobed == () for name in names())


@pytest.mark.parametrize(("release", "compared_with"), [
    ("6.12.118+deb13-rt-amd64", ["6.12"]), ("6.1.200", ["6.1"]), ("99.0-rc1", [names()[-1]]), ("4.19.1", ["5.10"]),
    ("5.15.3", ["5.10", "6.1"]), ("6.1", ["6.1"]), ("mine", [names()[-1]]),
])
def test_the_nearest_reference_is_that_of_the_series_or_of_the_series_around_it(release: str, compared_with: list[str]) -> None:
    assert [one.name for one in nearest(release)] == compared_with


@pytest.mark.parametrize(("changed", "said"), [
    ({"netdev_egress": False}, "6.12 has it, this kernel has not"),
    ({"netdev_egress": False, "netdev_egress_errno": errno.EPERM}, "6.12 has it, this kernel has not"),
    ({"unknown_verdict_warns": False}, "6.12 has it, this kernel has not"),
    ({"stolen_errno": False}, "6.12 has it, this kernel has not"),
    ({"hooks_validated": False}, "6.12 has it, this kernel has not"),
    ({"inet_ingress": False}, "6.12 has it, this kernel has not"),
    ({"failing_allocations": False}, "6.12 has it, this kernel has not"),
    ({"ip_ct_attach": True}, "6.12 has it not, this kernel has"),
    ({"families": (Family.INET, Family.IPV4, Family.ARP, Family.BRIDGE, Family.IPV6)}, "6.12 has NETDEV, this kernel has not"),
    ({"reinject_warns": "net/netfilter/nf_queue.c"}, "6.12: no, this kernel: net/netfilter/nf_queue.c"),
    ({"unprobed": ("stolen_errno: Connection refused",)}, "it could not be probed: Connection refused"),
])
def test_what_no_option_explains_departs(changed: Mapping[str, Any], said: str) -> None:
    (departure,) = found(**changed)
    assert (departure.said, departure.explained) == (said, "")


def test_an_option_that_is_off_explains_what_is_lacking_and_is_named() -> None:
    (egress, answer) = found(off("NETFILTER_EGRESS"), netdev_egress=False, netdev_egress_errno=errno.EOPNOTSUPP)
    assert egress.reason == "6.12 has it, this kernel has not: CONFIG_NETFILTER_EGRESS is not set"
    assert answer.reason == "6.12: EINVAL, this kernel: EOPNOTSUPP: CONFIG_NETFILTER_EGRESS is not set"
    (arp,) = found(off("NETFILTER_FAMILY_ARP"), families=tuple(family for family in Family if family is not Family.ARP))
    assert arp.reason == "6.12 has ARP, this kernel has not: CONFIG_NETFILTER_FAMILY_ARP is not set"
    builtin = ("nf_conntrack", "nf_conntrack_netlink", "nf_nat")
    module, names = found({**OPTIONS, "NF_CONNTRACK": "y", "NF_NAT": "y", "NF_CT_NETLINK": "y"}, conntrack_module=False,
                          conntrack_builtin=builtin)
    assert module.explained == "CONFIG_NF_CONNTRACK=y, CONFIG_NF_NAT=y, CONFIG_NF_CT_NETLINK=y"
    assert names.said == "6.12 has not nf_conntrack nf_conntrack_netlink nf_nat, this kernel has"


def test_an_option_that_is_on_explains_what_the_reference_lacks_but_not_that_it_is_lacking_here() -> None:
    like = replace(DEBIAN, profile=replace(DEBIAN.profile, hooks_validated=False))
    (gained,) = found(like=like)
    assert gained.reason == "6.12 has it not, this kernel has: CONFIG_DEBUG_MISC=y"
    (blind,) = found(like=like, hooks_validated=False)
    assert (blind.said, blind.explained) == ("CONFIG_DEBUG_MISC=y has it, this kernel has not", "")


def test_an_option_that_is_off_does_not_explain_that_it_is_there() -> None:
    (departure,) = found(off("NETFILTER_EGRESS"), netdev_egress_errno=errno.EOPNOTSUPP)[:1]
    assert (departure.field, departure.explained) == ("netdev_egress", "")


def test_what_is_allowed_is_explained_by_that() -> None:
    (departure,) = found(OPTIONS, "stolen_errno", stolen_errno=False)
    assert departure.reason == "6.12 has it, this kernel has not: --allow-profile"


def test_between_two_series_a_kernel_may_be_as_either() -> None:
    older = replace(DEBIAN, name="6.1", profile=replace(DEBIAN.profile, stolen_errno=False))
    (departure,) = departures(DEBIAN.profile, [older, DEBIAN], OPTIONS)
    assert departure.reason == "6.1 has it not, this kernel has: 6.12 is so"


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    assert load(str(record(tmp_path, DEBIAN))) == DEBIAN
    (tmp_path / "none.json").write_text("{}")
    for name in (str(tmp_path / "none.json"), str(tmp_path / "nowhere.json"), "6.99"):
        with pytest.raises(UserError):
            load(name)


def test_a_series_that_is_new_is_what_its_kernels_are_compared_with_once_it_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reference, "_WHERE", tmp_path)
    load.cache_clear()
    for name in ("6.12", "7.4", "6.12-rt", "linux"):
        record(tmp_path, replace(DEBIAN, name=name))
    found = [[one.name for one in nearest(release)] for release in ("7.4.1+deb13-cloud-amd64", "6.12.9", "6.13.1", "8.0")]
    load.cache_clear()
    assert found == [["7.4"], ["6.12"], ["6.12", "7.4"], ["7.4"]], "a tree's and a flavour's are for --like alone"


def test_a_reference_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "6.12.json").mkdir()
    with pytest.raises(UserError):
        record(tmp_path, DEBIAN)
    assert [path.name for path in tmp_path.iterdir()] == ["6.12.json"]


def test_a_reference_says_nothing_of_what_was_not_known_when_it_was_recorded(tmp_path: Path) -> None:
    path = record(tmp_path, DEBIAN)
    document = json.loads(path.read_text())
    del document["profile"]["stolen_errno"]
    path.write_text(json.dumps(document))
    assert found(like=load(str(path)), stolen_errno=False) == []
    assert [departure.field for departure in found(like=load(str(path)), vlan=False)] == ["vlan"]


def target(**changed: Any) -> Target:
    return replace(kernel("6.12.1", replace(DEBIAN.profile, **changed)), references=(DEBIAN,))


def test_a_departure_is_a_result_on_every_kernel_and_none_is_none() -> None:
    one, other = target(stolen_errno=False), replace(kernel("6.12.2", DEBIAN.profile), references=(DEBIAN,))
    assert [(result.rule, result.state, result.reason) for result in compared([one], FIELDS)] == [
        ("profile.stolen_errno", "different", "6.12 has it, this kernel has not")]
    assert compared([one], FIELDS)[0].promise[0].startswith("nf_hook_slow returns the errno that STOLEN carries")
    assert [(result.rule, result.state) for result in compared([one, other], FIELDS)] == [
        ("profile.stolen_errno", "different"), ("profile.stolen_errno", "conformant")]
    assert compared([other], FIELDS) == []
    assert [result.state for result in compared([other], FIELDS, ["stolen_errno"])] == ["conformant"]


def run(on: Target, *rules: str) -> list[RuleResult]:
    return asyncio.run(matrix.run([RULES[name] for name in rules], [on], lambda _: None, jobs=1))


def test_the_ways_of_a_fork_do_not_excuse_each_other(guests: Guests) -> None:
    lost, absent = run(target(netdev_egress=False), "netdev.egress", "netdev.egress-absent")
    assert (lost.state, lost.reason, lost.applies_to) == (
        "not_applicable", "the probe netdev_egress says no; the rule applies to 6.12", "6.12")
    assert (absent.state, absent.reason) == ("not_applicable", "the probe netdev_egress_absent says yes, and nothing explains that")
    allowed = replace(target(netdev_egress=False), allowed=("netdev_egress",))
    run(allowed, "netdev.egress", "netdev.egress-absent")
    assert guests.asked == [(1, "netdev.egress-absent")]


def test_what_applies_to_the_reference_and_not_here_is_named_everywhere(guests: Guests) -> None:
    results = run(target(stolen_errno=False), "stolen.errno", "stolen.keeps")
    assert missed(results) == {("6.12.1", "6.12"): ["stolen.errno"]}
    assert "  # apply to 6.12 and not here: stolen.errno" in list(ktap(results))
    assert b"applies to: 6.12" in junit(results)


@pytest.mark.parametrize(("patterns", "fields"), [
    (["stolen.errno"], {"stolen_errno"}), (["netdev.egress"], {"netdev_egress"}), (["repeat"], {"unknown_verdict_warns"}),
])
def test_a_rule_s_own_fields_are_compared_with_it(patterns: list[str], fields: set[str]) -> None:
    chosen = Selection.of(patterns)
    assert fields <= chosen.fields
    assert not {"vlan", "reinject_warns", "hooks_validated"} & chosen.fields


def test_fields_are_chosen_by_name() -> None:
    assert Selection.of([]).fields == frozenset(FIELDS)
    assert (Selection.of(["profile.veth_*"]).rules, Selection.of(["profile.veth_*"]).named_fields) == ((), ("veth_gro", "veth_udp_gso"))
    assert Selection.of(["profile"]).named_fields == tuple(FIELDS)
    assert Selection.of([], allowed=["profile.vlan", "tee"]).allowed == ("vlan", "tee")
    with pytest.raises(UserError, match="no such field"):
        Selection.of([], allowed=["netdev-egress"])


@pytest.mark.parametrize(("states", "code"), [
    ([("stolen.errno", "not_applicable")], 125),
    ([("stolen.errno", "not_applicable"), ("profile.stolen_errno", "conformant")], 125),
    ([("stolen.errno", "not_applicable"), ("profile.stolen_errno", "different")], 1),
    ([("stolen.errno", "not_applicable"), ("stolen", "conformant")], 0),
    ([("profile.stolen_errno", "conformant")], 0),
])
def test_a_check_of_which_nothing_applies_is_no_pass(states: list[tuple[str, State]], code: int) -> None:
    assert exit_code([RuleResult(rule, "k", state, ()) for rule, state in states]) == code


@pytest.mark.parametrize("name", names())
def test_a_reference_that_ships_says_something_of_every_field(name: str) -> None:
    assert load(name).silent == frozenset(), "record it anew: nfharness profile --kernel SERIES --record harness/conformance/references"
