"""Patches over a source tree, as a stack: those that are wanted no more are taken back, and nothing is ever half applied.

``patch`` works on copies of the files that a patch is about. When all of them are as they are to be, they and the new stack lie whole in
``next``; only then do they take their places in the tree, one rename each. What is cut off in between is carried on by :func:`settle`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import HostError, UserError
from harness.host import process
from harness.host.store import disk_full_is_an_error, remove_tree

__all__ = ("apply", "read", "settle")

_STACK, _NEXT, _FILES, _GONE = "patches", "next", "files", "gone"
_HEADER = re.compile(r"^(?:--- |\+\+\+ |rename (?:from|to) )(?P<name>[^\t\n]+)", re.MULTILINE)
#: Of what ``patch`` could not place.
_HUNK_LINES = 30


def read(paths: Sequence[Path]) -> dict[str, bytes]:
    """Patches by name, in their order.

    :raises UserError: one cannot be read, is none, or leaves the tree
    """
    found: dict[str, bytes] = {}
    for number, path in enumerate(paths, 1):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}", hint="name a patch that can be read") from None
        names = list(_names(content))
        if not names:
            raise UserError(f"{path} is no patch", hint="name a unified diff whose paths begin in the tree, as git diff writes it")
        if outside := next((name for name in names if name.startswith("/") or ".." in name.split("/")), None):
            raise UserError(f"{path} changes {outside}, which is outside of the tree", hint="make the patch in the tree: git diff")
        found[f"{number:03}-{path.name}"] = content
    return found


def _names(content: bytes) -> Iterator[str]:
    """Files that a patch is about, as ``patch -p1`` takes them."""
    for found in _HEADER.finditer(content.decode(errors="replace")):
        whole, name = found[0], found["name"].strip()
        if name != "/dev/null":
            yield name if whole.startswith("rename") else name.partition("/")[2] or name


def apply(tree: Path, state: Path, wanted: dict[str, bytes]) -> int:
    """Make *wanted* the patches of a tree: what is equal at the bottom of the stack stays, the rest is taken back, the new ones go over it.

    :param state: directory of ours that keeps the stack
    :returns: how many were taken back or applied
    :raises UserError: one does not apply; the hunk is told, and the tree is as it was
    """
    settle(tree, state)
    have = _stack(state)
    same = 0
    for mine, theirs in zip(have.values(), wanted.values(), strict=False):
        if mine != theirs:
            break
        same += 1
    back, new = list(have.items())[same:], list(wanted.items())[same:]
    if not back and not new:
        return 0
    making = state / f"{_NEXT}.new"
    with disk_full_is_an_error(tree):
        remove_tree(making)
        names = sorted({name for _, content in (*back, *new) for name in _names(content)})
        _copy(tree, making / _FILES, names)
        try:
            for name, content in reversed(back):
                _patch(making, name, content, back=True)
            for name, content in new:
                _patch(making, name, content)
        except BaseException:
            remove_tree(making)
            raise
        (making / _GONE).write_text("".join(f"{name}\n" for name in names if not (making / _FILES / name).exists()))
        _keep(making / _STACK, wanted)
        making.rename(state / _NEXT)
    settle(tree, state)
    return len(back) + len(new)


def _stack(state: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((state / _STACK).glob("*"))}


def _copy(tree: Path, to: Path, names: Sequence[str]) -> None:
    for name in names:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        if (tree / name).is_file():
            shutil.copy2(tree / name, to / name)


def _keep(stack: Path, wanted: dict[str, bytes]) -> None:
    stack.mkdir()
    for name, content in wanted.items():
        (stack / name).write_bytes(content)


def _patch(making: Path, name: str, content: bytes, *, back: bool = False) -> None:
    """Apply one patch to the copies, or take it back.

    :raises UserError: a hunk finds no place
    """
    file, place = making / "patch", making / _FILES
    file.write_bytes(content)
    # Context counts to the last line: what applies in a wrong place is worse than what does not apply.
    command = ["patch", "--batch", "--strip=1", "--fuzz=0", "--no-backup-if-mismatch", "--reverse" if back else "--forward",
               "--input", str(file)]  # fmt: skip
    try:
        done = process.captured(process.bound(command), 60, cwd=place)
    except TimeoutError as late:
        raise HostError(f"patch did not end {late}", hint="try again") from None
    if not done.returncode:
        return
    label = name.partition("-")[2]
    rejected = "\n".join(path.read_text(errors="replace") for path in sorted(place.rglob("*.rej")))
    shown = [f"  | {line}" for line in (rejected or done.stdout + done.stderr).splitlines()][:_HUNK_LINES]
    if back:
        message = f"{label}, applied before, cannot be taken back: what it changed has been edited"
        hint = "give it as --patch again, or name another directory; what finds no place:"
    else:
        message = f"{label} does not apply"
        there = "previously applied" in done.stdout
        hint = "leave it out, these sources have it:" if there else "make it for these sources; what finds no place:"
    raise UserError(message, hint="\n".join([hint, *shown]))


def settle(tree: Path, state: Path) -> None:
    """Carry on what :func:`apply` was cut off in, if it had come to the tree itself."""
    next_ = state / _NEXT
    if not next_.is_dir():
        return
    with disk_full_is_an_error(tree):
        for path in sorted((next_ / _FILES).rglob("*")):
            if path.is_file():
                target = tree / path.relative_to(next_ / _FILES)
                if target.is_file() and target.read_bytes() == path.read_bytes():
                    continue  # nothing for make
                target.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                path.replace(target)
        for name in (next_ / _GONE).read_text().splitlines():
            (tree / name).unlink(missing_ok=True)
        if (next_ / _STACK).is_dir():  # the last to take its place
            remove_tree(state / _STACK)
            (next_ / _STACK).rename(state / _STACK)
        done = state / f"{_NEXT}.new"
        next_.rename(done)
        remove_tree(done)
