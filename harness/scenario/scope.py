"""What the steps of a scenario have brought about, as far as the sense of the next step depends on it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from harness.scenario.reader import fail, quote, suggest
from harness.scenario.topology import Topology

__all__ = ("Inserted", "Linked", "Scope", "line_of")

_NAME = re.compile(r"[^\s/](?:[^/]{0,62}[^\s/])?")


class Inserted(Protocol):
    """A hook in a private array."""

    @property
    def netns(self) -> str: ...
    @property
    def array(self) -> str: ...
    @property
    def verdict(self) -> int: ...


class Linked(Protocol):
    """A BPF program that is a hook."""

    @property
    def netns(self) -> str: ...


@dataclass(slots=True)
class Scope:
    """What the steps so far have brought about.

    :param index: of the step that is looked at
    :param ids: hook → the step that named it
    :param live: hook → how often it is registered
    :param points: hook → its namespace and device
    :param batches: hook → all that came with it
    :param cookies: packet's cookie → the step that sends it
    :param awaited: cookies that hooks wait for, with the place where each says so
    :param private: hook in a private array → the step that put it there
    :param arrays: namespace and name of each private array
    :param tracking_known: a step has said that nf_conntrack is not loaded, so that it is known what is loaded since
    :param links: BPF link → the step that made it
    :param listening: namespace and number of each queue that has a listener
    """

    topology: Topology
    index: int = 0
    ids: dict[str, int] = field(default_factory=dict)
    live: Counter[str] = field(default_factory=Counter)
    points: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    batches: dict[str, tuple[str, ...]] = field(default_factory=dict)
    cookies: dict[int, int] = field(default_factory=dict)
    awaited: list[tuple[str, int]] = field(default_factory=list)
    private: dict[str, Inserted] = field(default_factory=dict)
    arrays: set[tuple[str, str]] = field(default_factory=set)
    tracking_known: bool = False
    links: dict[str, Linked] = field(default_factory=dict)
    listening: set[tuple[str, int]] = field(default_factory=set)

    def netns(self, name: str, path: str) -> None:
        """A namespace that there is."""
        if name not in self.topology.namespaces:
            fail(path, f"no namespace {quote(name)} in the topology {quote(self.topology.name)}",
                 suggest(name, self.topology.namespaces, what="namespaces"))

    def device(self, netns: str, name: str, path: str) -> None:
        """A device that there is."""
        devices = self.topology.devices(netns)
        if name not in devices:
            fail(path, f"no device {quote(name)} in the namespace {quote(netns)}", suggest(name, devices, what="devices"))

    def new_ids(self, ids: tuple[str, ...], path: str) -> None:
        """Names for hooks, which no hook has yet; from now on they have them.

        :param path: of the step
        """
        for name in ids:
            line_of(name, f"{path}.id", "hook id")
            if name in self.ids:
                fail(f"{path}.id", f"{quote(name)} is already the id of a hook of steps[{self.ids[name]}]", "choose another id")
            self.ids[name] = self.index

    def new_cookie(self, cookie: int, path: str) -> None:
        """A cookie that no packet carries yet."""
        if cookie in self.cookies:
            fail(path, f"{cookie} is already the cookie of steps[{self.cookies[cookie]}]", "give every packet its own cookie")
        self.cookies[cookie] = self.index

    def registered(self, name: str, path: str) -> None:
        """A hook that is registered now.

        :param path: of the step
        """
        if self.live[name] < 1:
            problem = "is already unregistered" if name in self.ids else "is no hook registered before this step"
            fail(f"{path}.id", f"{quote(name)} {problem}", suggest(name, +self.live, what="registered here"))


def line_of(name: str, path: str, what: str) -> None:
    """A name that a person can write and a report can show.

    :raises UserError: it is none
    """
    if not _NAME.fullmatch(name):
        fail(path, f"{quote(name)} is no {what}", "use 1 to 64 characters, no slash, no space at the ends")
