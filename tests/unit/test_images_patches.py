"""Patches are a stack over a source tree: all of one applies or nothing, and what is cut off is carried on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.images import patches

pytestmark = pytest.mark.skipif(not shutil.which("patch"), reason="this host has no patch")

_BEFORE = "one\ntwo\nthree\nfour\nfive\n"
_TWO = "--- a/net/core.c\n+++ b/net/core.c\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"
_FIVE = "--- a/net/core.c\n+++ b/net/core.c\n@@ -3,3 +3,3 @@\n three\n four\n-five\n+5\n"
_NEW = "--- /dev/null\n+++ b/net/new.c\n@@ -0,0 +1 @@\n+new\n"
_LOST = "--- a/net/core.c\n+++ b/net/core.c\n@@ -1,3 +1,3 @@\n eins\n-zwei\n+2\n drei\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/core.c").write_text(_BEFORE)
    (tmp_path / "state").mkdir()
    return tmp_path


def _apply(tree: Path, *texts: str) -> int:
    return patches.apply(tree, tree / "state", {f"{number:03}-{number}.patch": text.encode() for number, text in enumerate(texts)})


def _core(tree: Path) -> str:
    return (tree / "net/core.c").read_text()


def test_patches_that_are_wanted_no_more_are_taken_back(tree: Path) -> None:
    assert _apply(tree, _TWO, _FIVE, _NEW) == 3
    assert (_core(tree), (tree / "net/new.c").read_text()) == ("one\n2\nthree\nfour\n5\n", "new\n")
    assert _apply(tree, _TWO, _NEW) == 3  # two taken back, one applied
    assert _core(tree) == "one\n2\nthree\nfour\nfive\n"
    assert _apply(tree) == 2
    assert (_core(tree), (tree / "net/new.c").exists()) == (_BEFORE, False)


def test_what_stays_as_it_is_is_not_touched(tree: Path) -> None:
    """Otherwise make compiles it anew."""
    (tree / "net/new.c").write_text("new\n")
    _apply(tree, _TWO)
    before = (tree / "net/core.c").stat().st_mtime_ns
    assert _apply(tree, _TWO) == 0
    assert (tree / "net/core.c").stat().st_mtime_ns == before


def test_a_hunk_that_finds_no_place_is_shown_and_nothing_is_applied(tree: Path) -> None:
    with pytest.raises(UserError, match=r"1\.patch does not apply") as told:
        _apply(tree, _FIVE, _LOST)
    assert "  | -zwei" in (told.value.hint or "").splitlines()
    assert _core(tree) == _BEFORE
    assert sorted(path.name for path in tree.rglob("*") if path.is_file()) == ["core.c"]


def test_context_that_is_not_quite_so_is_none(tree: Path) -> None:
    with pytest.raises(UserError, match="does not apply"):
        _apply(tree, _TWO.replace(" one", " eins"))
    assert _core(tree) == _BEFORE


def test_what_the_sources_have_already_is_told(tree: Path) -> None:
    (tree / "net/core.c").write_text(_BEFORE.replace("two", "2"))
    with pytest.raises(UserError, match="does not apply") as told:
        _apply(tree, _TWO)
    assert (told.value.hint or "").startswith("leave it out, these sources have it")


def test_what_was_edited_since_is_not_overwritten(tree: Path) -> None:
    _apply(tree, _TWO)
    (tree / "net/core.c").write_text("one\nzwei\nthree\nfour\nfive\n")
    with pytest.raises(UserError, match="cannot be taken back"):
        _apply(tree)
    assert _core(tree) == "one\nzwei\nthree\nfour\nfive\n"


def test_what_was_cut_off_is_carried_on(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every rename: one file in its place and the other not, the stack not yet written."""
    done = 0
    for allowed in range(8):
        shutil.rmtree(tree / "state")
        (tree / "state").mkdir()
        (tree / "net/new.c").unlink(missing_ok=True)
        (tree / "net/core.c").write_text(_BEFORE)
        with monkeypatch.context() as patched:
            _die_after(allowed, patched)
            try:
                _apply(tree, _TWO, _NEW)
                done += 1
            except KeyboardInterrupt:
                pass
        assert _apply(tree, _TWO, _NEW) in (0, 2)
        assert (_core(tree), (tree / "net/new.c").read_text()) == ("one\n2\nthree\nfour\nfive\n", "new\n")
        assert _apply(tree, _TWO, _NEW) == 0
    assert 0 < done < 8


def _die_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SIGKILL would, before one of the renames."""
    left = iter(range(count))
    rename = Path.rename

    def renamed(self: Path, to: Path) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(Path, "replace", renamed)


@pytest.mark.parametrize(("text", "message"), [
    ("nothing", "is no patch"), ("--- a/../x\n+++ b/../x\n@@ -1 +1 @@\n-a\n+b\n", "which is outside of the tree"),
])
def test_what_is_no_patch_of_a_tree_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p").write_text(text)
    with pytest.raises(UserError, match=message):
        patches.read([tmp_path / "p"])


def test_a_patch_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent: No such file"):
        patches.read([tmp_path / "absent"])
