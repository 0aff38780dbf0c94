"""Scenario and its steps: plain data that a person writes, Hypothesis generates and a failure bundle replays.

A step is a dataclass in the module of its concern. What it needs beside that, each in a module of the same name:

* its JSON form and what makes sense of it: :mod:`harness.scenario.forms`
* what it does on a real kernel: :mod:`harness.guest.steps`
* what the model says that it does: :mod:`harness.model.steps`
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.scenario.steps.batches import RegisterAgain, RegisterBatch, UnregisterAbsent, UnregisterBatch
from harness.scenario.steps.bpf import BpfLink, BpfUnlink
from harness.scenario.steps.churn import CHURN_COOKIE, Churn, torn
from harness.scenario.steps.conntrack import CtRead, CtRun, Flow, KernelModule, Tee, Track
from harness.scenario.steps.ground import AddDevice, AddLink, AddNetns, DeleteDevice, DeleteNetns, Keys, MoveDevice
from harness.scenario.steps.hooks import ACCEPT, COUNT_MAX, TIMES_MAX, Dump, Nft, Register, RegisterMany, Unregister, is_point
from harness.scenario.steps.link import BROADCAST, UNKNOWN, Arp, Frame, arp_cookie, asking_device
from harness.scenario.steps.nat import Redirect
from harness.scenario.steps.packets import COOKIE_BYTES, SIZE_MAX, WHOLE_MAX, PacketKind, Send, destination, last_piece, packet_summary
from harness.scenario.steps.private import RawAlter, RawDelete, RawInsert, RawRun
from harness.scenario.steps.queue import COPY_RANGE_MAX, Answer, CopyMode, HangUp, Listen
from harness.scenario.topology import Topology

__all__ = (
    "ACCEPT", "BROADCAST", "CHURN_COOKIE", "COOKIE_BYTES", "COPY_RANGE_MAX", "COUNT_MAX", "SIZE_MAX", "TIMES_MAX", "UNKNOWN", "WHOLE_MAX",
    "AddDevice", "AddLink", "AddNetns", "Answer", "Arp", "BpfLink", "BpfUnlink", "Churn", "CopyMode", "CtRead", "CtRun", "DeleteDevice",
    "DeleteNetns", "Dump", "Flow", "Frame", "HangUp", "KernelModule", "Keys", "Listen", "MoveDevice", "Nft", "PacketKind", "Packets",
    "RawAlter", "RawDelete", "RawInsert", "RawRun", "Redirect", "Register", "RegisterAgain", "RegisterBatch", "RegisterMany", "Scenario",
    "Send", "Step", "Tee", "Track", "Unregister", "UnregisterAbsent", "UnregisterBatch", "arp_cookie", "asking_device", "destination",
    "is_point", "last_piece", "packet_summary", "torn",
)

Step = (
    Register | RegisterMany | Unregister | Dump | Nft
    | RegisterBatch | UnregisterBatch | RegisterAgain | UnregisterAbsent
    | BpfLink | BpfUnlink
    | RawInsert | RawDelete | RawAlter | RawRun
    | KernelModule | Track | CtRead | CtRun | Tee
    | Redirect
    | Send | Arp | Frame
    | AddNetns | DeleteNetns | AddDevice | AddLink | DeleteDevice | MoveDevice | Keys
    | Churn
    | Listen | Answer | HangUp
)

Packets = Send | Arp | Frame
"""Steps that bring packets about, by their cookie."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """:param summary: one line for a list"""

    name: str
    summary: str
    topology: Topology
    steps: tuple[Step, ...]
