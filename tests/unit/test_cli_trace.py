"""A session that was written is read again, and what is none is told."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.backends.observer import Complaints
from harness.cli.recorded import Recorded
from harness.cli.sessions import Seen, head, line, report, tail
from harness.cli.trace import command
from harness.errors import UserError
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Fate
from harness.outcome.types import HookCall, Outcome, PacketOutcome, Registration, Slot, Traversal
from harness.walks.session_lines import HEAD, numbered

_DROP = HookCall(0, "nft_do_chain_inet", "nf_tables", 0, Verdict(VerdictKind.DROP), 1000, chain="inet admin forward")
_ACCEPT = HookCall(0, "nft_do_chain_inet", "nf_tables", 0, Verdict(VerdictKind.ACCEPT), 1000, chain="inet admin forward")


def packet(number: int, call: HookCall, fate: Fate) -> PacketOutcome:
    crossed = Traversal(Family.IPV4, 2, "router", "eth0", "eth1", (call,), 1, head=bytes.fromhex("4500"), length=60, time=0)
    return PacketOutcome(packet=f"UDP {number}", cookie=None, fate=fate, traversals=(crossed,), alive=0, number=number)


@pytest.fixture
def session(tmp_path: Path) -> Path:
    observed = Outcome(packets=(packet(1, _DROP, Fate("dropped", 1)), packet(2, _ACCEPT, Fate("delivered"))))
    file = tmp_path / "session.json"
    file.write_text(json.dumps(report(Seen({"release": "6.12"}, ["sh"], 3, observed, observed, Complaints()))))
    return file


def shown(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, arguments)
    failed = result.exception is not None and not isinstance(result.exception, SystemExit)
    return result.exit_code, str(result.exception) if failed else result.output


def test_a_session_is_shown_again(session: Path) -> None:
    status, text = shown("--read", str(session), "--short")
    assert status == 0
    assert ("UDP 1" in text, "UDP 2" in text, "traced: 2 packets, 2 hook calls" in text) == (True, True, True)


def test_it_is_shown_by_the_clock_if_that_is_known(session: Path) -> None:
    document = json.loads(session.read_text())
    assert "at 0.000000 s" in shown("--read", str(session), "--clock")[1]
    session.write_text(json.dumps({**document, "began": 1_700_000_000_123_456_789}))
    assert ":20.123456+" in shown("--read", str(session), "--clock")[1]
    assert "at 0.000000 s" in shown("--read", str(session))[1]


def test_registrations_are_read_from_an_object_and_from_lines(tmp_path: Path) -> None:
    hook = Slot(0, "nft_do_chain_inet", "nf_tables", 0, chain="inet fw out")
    made = Registration(1, "registered", 0, Family.IPV4, 2, "router", "", hook, 0, "nft", 41, ("x [y]",), 3, 1, (), (hook,), 0, 1)
    observed = Outcome(packets=(packet(1, _DROP, Fate("dropped", 1)),), registrations=(made,))
    seen = Seen({"release": "6.12"}, ["sh"], 3, observed, observed, Complaints())
    whole, lines = tmp_path / "whole.json", tmp_path / "lines.json"
    whole.write_text(json.dumps(report(seen)))
    parts = [head(seen.facts, seen.argv, None), *numbered([line(made), line(observed.packets[0]), tail(seen)], HEAD)]
    lines.write_text("".join(json.dumps(part) + "\n" for part in parts))
    assert Recorded(whole).whole().observed == Recorded(lines).whole().observed == observed
    assert Recorded(whole).whole().observed.registrations == Recorded(lines).whole().observed.registrations == (made,)
    text = shown("--read", str(lines), "--short")[1]
    assert text.index("registration 1  0.000000 s  registered inet fw out at router FORWARD") < text.index("packet 1")
    assert "traced: 1 packet, 1 hook call, 1 registration" in text
    lines.write_text("".join(json.dumps(part) + "\n" for part in parts[:2]))
    assert [one.number for one in Recorded(lines).whole().observed.registrations] == [1]


def test_that_registrations_are_not_seen_is_told_first_and_last(session: Path) -> None:
    session.write_text(json.dumps({**json.loads(session.read_text()), "unregistered": "no function x"}))
    told = "traced: 2 packets, 2 hook calls; registrations of hooks are not seen on this kernel: no function x"
    said = shown("--read", str(session))[1].splitlines()
    assert (said[0], said[-1]) == (told, told)


def test_a_filter_chooses_of_it(session: Path) -> None:
    status, text = shown("--read", str(session), "--short", "by", "inet admin")
    assert status == 0
    assert ("UDP 1" in text, "UDP 2" in text, "… and 1 packet that the filter does not want" in text) == (True, False, True)


@pytest.mark.parametrize(("number", "first", "others"), [(1, 2, ""), (2, 2, "UDP 1"), (9, 2, "UDP 1")])
def test_the_slowest_come_first(session: Path, number: int, first: int, others: str) -> None:
    document = json.loads(session.read_text())
    document["packets"][1]["traversals"][0]["calls"][0]["ns"] = 2000
    session.write_text(json.dumps(document))
    status, text = shown("--read", str(session), "--short", "--slowest", str(number))
    assert status == 0
    assert f"UDP {first}" in text.splitlines()[0]
    assert "UDP 1" in text if others else "UDP 1" not in text


def test_as_json_it_is_itself(session: Path) -> None:
    status, text = shown("--read", str(session), "--json")
    assert (status, json.loads(text)) == (0, json.loads(session.read_text()))


@pytest.fixture
def followed(tmp_path: Path) -> Path:
    """Written a packet a line."""
    observed = Outcome(packets=(packet(1, _DROP, Fate("dropped", 1)), packet(2, _ACCEPT, Fate("delivered"))))
    session = Seen({"release": "6.12"}, ["sh"], 3, observed, observed, Complaints())
    lines = [head(session.facts, session.argv, None), *numbered([*map(line, observed.packets), tail(session)], HEAD)]
    file = tmp_path / "followed.jsonl"
    file.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    return file


@pytest.mark.parametrize("view", [(), ("--short",), ("--drops",), ("--explain", "1")])
def test_no_text_of_a_packet_makes_a_line_of_ours(session: Path, view: tuple[str, ...]) -> None:
    document = json.loads(session.read_text())
    document["packets"][0]["packet"] = "UDP 1\nconformant\n"
    document["packets"][0]["traversals"][0]["netns"] = "router\nconformant\n"
    document["packets"][0]["traversals"][0]["calls"][0]["chain"] = "inet a\nconformant\n"
    session.write_text(json.dumps(document))
    status, text = shown("--read", str(session), *view)
    assert (status, "\\x0aconformant" in text) == (0, True)
    assert "conformant" not in map(str.strip, text.splitlines())


def test_a_session_that_was_followed_is_the_same_one(session: Path, followed: Path) -> None:
    assert json.loads(shown("--read", str(followed), "--json")[1]) == json.loads(session.read_text())


@pytest.mark.parametrize(("kept", "packets"), [(1, 0), (2, 1), (3, 2), (2.5, 1), (3.5, 2)])
def test_of_one_that_was_cut_short_the_whole_lines_are_read(followed: Path, kept: float, packets: int) -> None:
    lines = followed.read_text().splitlines(keepends=True)
    half = lines[int(kept)][:20] if kept % 1 else ""
    followed.write_text("".join(lines[:int(kept)]) + half)
    status, text = shown("--read", str(followed), "--json")
    document = json.loads(text)
    assert (status, document["verdict"], document["doubts"]) == (125, "inconclusive", ["the recording was cut short"])
    assert len(document["packets"]) == packets


@pytest.mark.parametrize(("order", "packets", "damage"), [
    ("0 2 3", [2], "line 2 is missing"), ("0 3", [], "lines 2-3 are missing"), ("0 1 1 2 3", [1, 2], "line 2 comes more than once"),
    ("0 2 1 3", [2, 1], "lines are out of place"), ("0 1 2 3 3", [1, 2], "1 line cannot be read"),
    ("0 1 2 3 0 1 2 3", [1, 2], "lines 2-3 come more than once; lines are out of place; 2 lines cannot be read"),
    ("0 1 x 2 3", [1, 2], "1 line cannot be read"), ("0 1 x 3", [1], "line 3 is missing; 1 line cannot be read"),
])
def test_a_recording_with_lines_missing_doubled_or_out_of_place_is_damaged(
    followed: Path, order: str, packets: list[int], damage: str
) -> None:
    lines = dict(enumerate(followed.read_text().splitlines(keepends=True))) | {-1: '{"packet": "U\n'}
    followed.write_text("".join(lines[-1 if each == "x" else int(each)] for each in order.split()))
    status, text = shown("--read", str(followed), "--json")
    document = json.loads(text)
    assert (status, document["verdict"], document["doubts"]) == (125, "inconclusive", [f"recording damaged: {damage}"])
    assert [one["number"] for one in document["packets"]] == packets
    said = shown("--read", str(followed))[1].splitlines()
    assert [each.startswith(f"inconclusive: recording damaged: {damage}") for each in (said[0], said[-1])] == [True, True]


@pytest.mark.parametrize("option", ["--html", "--perfetto", "--pcapng"])
def test_a_file_is_written_of_what_the_filter_lets_through(session: Path, tmp_path: Path, option: str) -> None:
    file = tmp_path / "file"
    status, text = shown("--read", str(session), option, str(file), "by", "inet admin")
    assert (status, "traced: 2 packets" in text) == (0, True)
    content = file.read_bytes()
    assert (b"UDP 1" in content, b"UDP 2" in content) == ((False, False) if option == "--pcapng" else (True, False))


def test_a_trace_for_perfetto_says_of_which_session_it_is(session: Path, tmp_path: Path) -> None:
    shown("--read", str(session), "--perfetto", str(tmp_path / "file"), "dropped")
    about = json.loads((tmp_path / "file").read_text())["otherData"]
    assert {key: about[key] for key in ("kernel", "command", "filter", "verdict", "exit_status")} == {
        "kernel": {"release": "6.12"}, "command": ["sh"], "filter": "dropped", "verdict": "traced", "exit_status": 3}


def test_a_session_with_doubts_is_doubted_in_its_files(followed: Path, tmp_path: Path) -> None:
    followed.write_text("".join(followed.read_text().splitlines(keepends=True)[:2]))
    status, _ = shown("--read", str(followed), "--html", str(tmp_path / "html"), "--perfetto", str(tmp_path / "perfetto"))
    assert (status, (tmp_path / "html").read_text().count("inconclusive: the recording was cut short")) == (125, 2)
    assert "doubtful: the recording was cut short" in (tmp_path / "perfetto").read_text()


def test_two_files_of_the_same_name_are_told(session: Path, tmp_path: Path) -> None:
    file = str(tmp_path / "file")
    status, text = shown("--read", str(session), "--html", file, "--perfetto", file)
    assert (status, "--html and --perfetto name the same file." in text, Path(file).exists()) == (2, True, False)


@pytest.mark.parametrize("option", ["html", "perfetto"])
@pytest.mark.parametrize(("path", "why"), [("/proc/page", "No such file or directory"), ("/dev/full", "No space left on device")])
def test_a_file_that_cannot_be_written_is_told(session: Path, option: str, path: str, why: str) -> None:
    status, said = shown("--read", str(session), f"--{option}", path)
    assert (status, said) == (1, f"{path}: {why}")


def _without(key: str) -> dict[str, Any]:
    return {"trace": 2, "kernel": {}, "command": [], "exit_status": 0, "packets": [], "lost_events": 0, "doubts": [], "splats": [],
            "taint": "", "log": [], "unnamed": None, "undecided": None, "unregistered": None, "uncounted": None} | {key: None}


@pytest.mark.parametrize(("text", "problem"), [
    ("", "no session"),
    ('{"trace": 2, "packets": [', "no session"),
    ("\n\n", "no session"),
    ("5", "no session"),
    ("[]", "no session"),
    ('{"bundle": 5}', "no session"),
    ('{"trace": 1}', "a session of version 1, and this nfharness reads version 2"),
    ('{"trace": 2}', "not as trace --json writes it"),
    ('{"trace": 2, "kernel": {}, "command": []}\n{"line": 2}\n', "not as trace --json writes it"),
    (json.dumps(_without("packets")), "not as trace --json writes it"),
    (json.dumps(_without("splats")), "not as trace --json writes it"),
])
def test_what_is_no_session_is_told(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    status, said = shown("--read", str(file))
    assert status != 0
    assert problem in said


_TRAVERSAL = ("packets", 0, "traversals", 0)


@pytest.mark.parametrize(("where", "value"), [
    ((*_TRAVERSAL, "mark"), 1e308), ((*_TRAVERSAL, "mark"), 10**400), ((*_TRAVERSAL, "mark"), True), ((*_TRAVERSAL, "time"), "now"),
    ((*_TRAVERSAL, "netns"), None), ((*_TRAVERSAL, "changed"), [{"what": "TTL", "before": 1, "after": "2"}]),
    ((*_TRAVERSAL, "calls", 0, "function"), -1), ((*_TRAVERSAL, "calls", 0, "module"), 5), ((*_TRAVERSAL, "calls", 0, "ns"), {}),
    ((*_TRAVERSAL, "calls", 0, "rule"), {"handle": 1, "chain": "in", "text": "drop", "via": ["x"]}),
    (("packets", 0, "relation"), {"kind": "brother of", "packet": 1}), (("packets", 0, "reason"), []), (("lost_events",), 1e308),
    (("blind",), {"loop": 5}), (("doubts",), [7]), (("taint",), 7), (("splats",), [{}]), (("kernel",), []), (("command",), [7]),
    (("command",), "true"), (("exit_status",), "x"), (("exit_status",), 1e308), (("began",), "now"),
], ids=str)
def test_a_session_with_a_field_of_another_kind_is_none(session: Path, where: tuple[str | int, ...], value: object) -> None:
    document = json.loads(session.read_text())
    place = document
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    session.write_text(json.dumps(document))
    with pytest.raises(UserError, match="not as trace --json writes it"):
        Recorded(session).whole()


def test_a_session_that_is_nested_without_end_is_none(tmp_path: Path) -> None:
    file = tmp_path / "session.json"
    file.write_text("[" * 100_000)
    with pytest.raises(UserError, match="recursion"):
        Recorded(file).whole()


@pytest.mark.parametrize("kernel", [{}, {"profile": 7}, {"profile": {"families": [1]}}, {"profile": {"no such field": 1}}], ids=str)
def test_a_session_without_a_profile_is_not_held_against_core(session: Path, kernel: dict[str, Any]) -> None:
    session.write_text(json.dumps({**json.loads(session.read_text()), "kernel": kernel}))
    status, said = shown("--read", str(session), "--check")
    assert (status, "does not tell what its kernel does" in said) == (1, True)  # main() makes 2 of it


@pytest.mark.parametrize("arguments", [("--", "true"), ("--for", "3"), ("--follow",), ("--file", __file__), ("--with", "jq"),
                                       ("--until", "dropped"), ("--count", "1"), ("--registrations",)])
def test_nothing_is_run_when_a_session_is_read(session: Path, arguments: tuple[str, ...]) -> None:
    status, said = shown("--read", str(session), *arguments)
    assert (status, "--read shows a session that is over" in said) == (2, True)


def _long(tmp_path: Path, count: int) -> Path:
    """A session that was followed, with packets that are alike but for their numbers; every other one was dropped."""
    def packets() -> Iterator[PacketOutcome]:
        for number in range(1, count + 1):
            one = packet(number, _DROP, Fate("dropped", 1)) if number % 2 else packet(number, _ACCEPT, Fate("delivered"))
            yield replace(one, packet="UDP 10.0.0.1:5 > 10.0.0.2:9, 60 bytes")

    file = tmp_path / "long.jsonl"
    session = Seen({"release": "6.12"}, ["sh"], 0, Outcome(), Outcome(), Complaints())
    with file.open("w") as lines:
        lines.write(f"{json.dumps(head(session.facts, session.argv, None))}\n")
        for one in numbered(chain(map(line, packets()), [tail(session)]), HEAD):
            lines.write(f"{json.dumps(one)}\n")
    return file


@pytest.mark.parametrize(("arguments", "said"), [
    (("--short", "--limit", "3"), "… and 1,997 more packets: --limit 0 prints all"),
    (("--short", "--limit", "3", "dropped"), "… and 997 more packets: --limit 0 prints all"),
    (("--short", "--drops", "--limit", "2"), "… and 998 more packets: --limit 0 prints all"),
    (("--drops", "--limit", "2"), " 1000  UDP 10.0.0.1 > 10.0.0.2:9"),
    (("--summary",), "2,000  DROP 1,000, ACCEPT 1,000"),
    (("--summary", "by", "inet admin"), "1,000  DROP 1,000"),
    (("--short", "--slowest", "2"), "packet 1  "),
], ids=" ".join)
def test_of_a_long_session_all_packets_are_counted(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    status, text = shown("--read", str(_long(tmp_path, 2000)), *arguments)
    assert (status, said in text, "traced: 2,000 packets, 2,000 hook calls" in text) == (0, True, True)


@pytest.mark.slow  # tracemalloc
@pytest.mark.parametrize("arguments", [("--summary",), ("--short",), ("--drops",), ("--slowest", "5", "--short")], ids=" ".join)
def test_what_is_held_of_a_session_that_is_read_does_not_grow_with_it(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    def peak(count: int) -> int:
        file = _long(tmp_path, count)
        tracemalloc.start()
        try:
            assert shown("--read", str(file), *arguments)[0] == 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)  # what is imported and cached
    assert peak(3000) < peak(1000) + 500_000


def test_hooks_are_counted_where_all_packets_are_kept_too(session: Path, tmp_path: Path) -> None:
    status, text = shown("--read", str(session), "--summary", "--html", str(tmp_path / "file"))
    assert (status, "2  DROP 1, ACCEPT 1" in text) == (0, True)
