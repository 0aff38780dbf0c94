"""Steps of an NFQUEUE listener."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.netfilter import VerdictKind

__all__ = ("COPY_RANGE_MAX", "Answer", "CopyMode", "HangUp", "Listen")

CopyMode = Literal["none", "meta", "packet"]

COPY_RANGE_MAX = 0xFFFF


@dataclass(frozen=True, slots=True)
class Listen:
    """A listener binds a queue of the namespace (``NFQNL_CFG_CMD_BIND``); from then on packets queued to it wait for an :class:`Answer`.

    :param queue: number
    :param maxlen: most packets that wait; more are dropped. ``None``: the kernel's 1024
    :param copy: what the listener gets of a packet; ``none`` lets no packet in
    :param copy_range: bytes of it at most, with the copy ``packet``
    :param fail_open: what finds no room goes on as if accepted (``NFQA_CFG_F_FAIL_OPEN``)
    """

    netns: str
    queue: int
    maxlen: int | None = None
    copy: CopyMode = "packet"
    copy_range: int = COPY_RANGE_MAX
    fail_open: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The listener answers a packet (``NFQNL_MSG_VERDICT``): ``nf_reinject`` gets its verdict.

    :param verdict: any u32
    :param cookie: of the packet; ``None``: the one that has waited longest
    """

    netns: str
    queue: int
    verdict: int = VerdictKind.ACCEPT
    cookie: int | None = None


@dataclass(frozen=True, slots=True)
class HangUp:
    """The listener's socket closes, as it does when the listener dies: what waits is dropped."""

    netns: str
    queue: int
