"""Frames survive any cut of the byte stream; a guest's last words are found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.vm import console
from harness.wire import LIMIT, Decoder, Kind, WireFrame, encode

_frames = st.lists(st.builds(WireFrame, st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=300)), max_size=12)
_PANIC = "[ 1.0] Kernel panic - not syncing: Fatal exception"


@given(_frames, st.lists(st.integers(1, 400), max_size=20))
def test_frames_come_out_as_they_went_in_however_they_are_cut(frames: list[WireFrame], cuts: list[int]) -> None:
    data, decoder = b"".join(map(encode, frames)), Decoder()
    out: list[WireFrame] = []
    for cut in cuts:
        out += decoder.feed(data[:cut])
        data = data[cut:]
    out += decoder.feed(data)
    assert out == frames


def test_what_is_no_frame_is_refused_before_it_is_waited_for() -> None:
    with pytest.raises(ValueError, match="does not speak this protocol"):
        list(Decoder().feed((LIMIT + 1).to_bytes(4, "big") + bytes(5)))
    with pytest.raises(ValueError, match="255"):
        list(Decoder().feed(bytes(8) + b"\xff"))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (f"boot\n{_PANIC}\ntrace", "Kernel panic - not syncing: Fatal exception"),
        (f"[ 0.9] BUG: kernel NULL pointer dereference, address: 0\n{_PANIC}", "BUG: kernel NULL pointer dereference, address: 0"),
        ("nfharness: no userland\n[ 2.0] reboot: Power down", "nfharness: no userland"),
        ("nfharness: acceleration proved\n", None),
        ("all is well", None),
        ("", None),
    ],
)
def test_why_a_kernel_died(said: str, reason: str | None) -> None:
    assert console.reason(said) == reason


def test_a_panic_is_shown_from_its_reason_on_however_long_its_trace() -> None:
    said = "\n".join(["quiet"] * 50 + [_PANIC] + [f"frame {number}" for number in range(100)])
    shown = console.tail(said, 25).splitlines()
    assert shown[0] == _PANIC
    assert len(shown) == 25


def test_without_a_panic_the_last_lines_are_shown() -> None:
    assert console.tail("\n".join(map(str, range(100))), 3) == "97\n98\n99"


def test_a_console_is_read_without_a_terminals_clutter() -> None:
    assert console.cleaned(b"\x1bc\x1b[?7l\x1b[2Jone\r\ntwo \xff\r\n") == "one\ntwo \ufffd\n"
