"""The tracer's programs that a machine has compiled are kept, and compiled anew when anything that they depend on has changed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from harness.backends import programs
from harness.errors import GuestError
from harness.vm.guest import Guest

_RELEASE = "6.12"


class Machine(Guest):
    """Compiles, and counts how often.

    :param compiler: what it says of its kernel and its libbcc
    """

    def __init__(self, compiler: bytes = b"one") -> None:
        super().__init__()
        self.compiler = compiler
        self.compiled = 0

    async def call(self, function: str, *_args: Any, **_options: Any) -> bytes:
        """Answer as :mod:`harness.guest.tracing` does there."""
        if function.endswith(":compiler"):
            return self.compiler
        self.compiled += 1
        return json.dumps({"number": self.compiled}).encode()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NFHARNESS_CACHE", str(tmp_path))
    return tmp_path / "programs"


def asked(*wanted: tuple[bytes, str], between: Any = lambda: None) -> int:
    """How often a machine compiles.

    :param wanted: what it says of its compiler, and the source, for each time that it is asked
    :param between: called after each
    """

    async def ask() -> int:
        machine = Machine()
        for machine.compiler, source in wanted:
            assert await programs.programs(machine, source, _RELEASE)
            between()
        return machine.compiled

    return asyncio.run(ask())


@pytest.mark.parametrize(("wanted", "compiled"), [
    (((b"one", "source"), (b"one", "source")), 1),
    (((b"one", "source"), (b"one", "other")), 2),
    (((b"one", "source"), (b"two", "source")), 2),
])  # fmt: skip
@pytest.mark.usefixtures("cache")
def test_what_depends_on_the_same_is_compiled_once(wanted: tuple[tuple[bytes, str], ...], compiled: int) -> None:
    assert asked(*wanted) == compiled


def test_a_byte_that_has_changed_has_them_compiled_anew(cache: Path) -> None:
    def damage() -> None:
        for file in cache.glob("*/code.json"):
            file.write_bytes(file.read_bytes().replace(b"1", b"2"))

    assert asked(*[(b"one", "source")] * 2, between=damage) == 2
    assert asked((b"one", "source")) == 0, "the second ones were kept"


@pytest.mark.parametrize("record", [".sums.json", ".sizes.json"])
@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b"null", b"\xff"])
def test_what_cannot_be_checked_is_not_used(cache: Path, record: str, torn: bytes) -> None:
    def damage() -> None:
        for file in cache.glob(f"*/{record}"):
            file.write_bytes(torn)

    assert asked(*[(b"one", "source")] * 2, between=damage) == 2


def test_what_has_lost_its_checksums_is_not_used(cache: Path) -> None:
    def lose() -> None:
        for file in cache.glob("*/.sums.json"):
            file.unlink()

    assert asked(*[(b"one", "source")] * 2, between=lose) == 2


def test_other_code_of_the_tracer_has_them_compiled_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked((b"one", "source"))
    monkeypatch.setattr(programs, "code_key", lambda: "newer")
    assert asked((b"one", "source")) == 1
    assert len(list(cache.glob("[!.]*"))) == 2


def test_those_of_many_boots_do_not_gather(cache: Path) -> None:
    sources = [f"source with address {number}" for number in range(20)]
    assert asked(*[(b"one", source) for source in sources]) == len(sources)
    assert len(list(cache.glob("[!.]*"))) < len(sources) / 2
    assert asked((b"one", sources[-1])) == 0


def test_a_cache_that_cannot_be_made_costs_time_only(cache: Path) -> None:
    cache.write_text("no directory")
    assert asked(*[(b"one", "source")] * 2) == 2


def test_a_machine_that_does_not_compile_says_so(cache: Path) -> None:
    class Lacking(Machine):
        async def call(self, *_args: Any, **_options: Any) -> bytes:
            raise GuestError("BCC is missing")

    async def ask() -> None:
        await programs.programs(Lacking(), "source", _RELEASE)

    with pytest.raises(GuestError, match="BCC is missing"):
        asyncio.run(ask())
    assert not cache.exists()
