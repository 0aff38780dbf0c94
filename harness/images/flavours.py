"""What ``kernel build`` configures a kernel with: what every guest needs, a flavour's options, and the user's own fragments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.errors import HostError, UserError
from harness.images import config

__all__ = ("BASE", "PLAIN", "check", "merged", "names", "read_fragment", "settings", "wanted")

#: The flavour without options of a flavour.
PLAIN = "plain"
#: What ``make allnoconfig`` is to set: prompts that only an expert sees.
BASE = "CONFIG_EXPERT=y\n"
_SET = re.compile(r"CONFIG_(?P<set>\w+)=(?P<value>.+)|# CONFIG_(?P<unset>\w+) is not set")
_DEPENDS_SHOWN = 3


def names() -> list[str]:
    """Flavours that there are."""
    return [PLAIN, *config.FLAVOURS]


def settings(text: str) -> dict[str, str]:
    """Options that a configuration or fragment sets → values as they stand there, ``n`` for what is not to be set; the last counts."""
    found = (_SET.fullmatch(line.strip()) for line in text.splitlines())
    return {one["set"] or one["unset"]: one["value"] or "n" for one in found if one}


def read_fragment(path: Path) -> dict[str, str]:
    """Options of a fragment of the user's.

    :raises UserError: it cannot be read, or a line of it is none of a configuration
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", hint="name a fragment that can be read") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text", hint="name a fragment of a kernel's configuration") from None
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line and not line.startswith("#") and not _SET.fullmatch(line):
            raise UserError(f"{path}:{number} sets no option: {line}", hint="CONFIG_NAME=y, or # CONFIG_NAME is not set")
    return settings(text)


def wanted(flavour: str, fragments: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The options that a build insists on; those of later fragments count more than those of earlier ones."""
    own = {} if flavour == PLAIN else {"LOCALVERSION": f'"-{flavour}"'} | dict.fromkeys(config.FLAVOURS[flavour][1], "y")
    return {name: value for part in (own, *fragments) for name, value in part.items()}


def merged(text: str, insisted: Mapping[str, str]) -> str:
    """A ``.config`` with nfharness's fragment and then *insisted* set in it, each option once, for ``make olddefconfig``."""
    options = settings(text) | settings("\n".join(config.fragment())) | dict(insisted)
    return "".join(f"# CONFIG_{name} is not set\n" if value == "n" else f"CONFIG_{name}={value}\n" for name, value in options.items())


def check(text: str, insisted: Mapping[str, str], tree: Path, flavour: str = PLAIN) -> list[str]:
    """Look whether ``make olddefconfig`` has kept what was asked for, and what a guest needs.

    :param text: the ``.config`` that it made
    :param tree: the sources
    :param flavour: whose options may be newer than the sources (KFENCE: since 5.12)
    :returns: those of the flavour that are
    :raises HostError: an option was dropped, or has another value; each is named, with what it depends on
    """
    found = settings(text)
    unmet = [one.removeprefix("CONFIG_").split() for one in config.unmet(config.options(text))]
    asked = {words[0]: "n" if words[1:] else "y" for words in unmet}
    asked |= {name: value for name, value in insisted.items() if found.get(name, "n") != value}
    optional = config.FLAVOURS[flavour][1] if flavour != PLAIN else ()
    newer = [name for name in asked if name in optional and _depends(tree, name) is None]
    for name in newer:
        del asked[name]
    if asked:
        dropped = ", ".join(f"CONFIG_{name}={value}" for name, value in asked.items())
        why = [f"CONFIG_{name} {_depends(tree, name) or 'is no option of these sources'}" for name in asked]
        raise HostError(f"make olddefconfig did not keep {dropped}", hint="\n        ".join(why))
    return newer


def _depends(tree: Path, name: str) -> str | None:
    """What an option depends on, as the tree's Kconfig files say; ``None`` if they do not know it."""
    said, known = [], False
    for path in sorted(path for path in tree.rglob("Kconfig*") if path.is_file()):
        inside = False
        for words in map(str.split, path.read_text(errors="replace").splitlines()):
            if words[:1] in (["config"], ["menuconfig"], ["choice"], ["menu"], ["comment"]):
                inside = words[1:2] == [name]
                known |= inside
            elif inside and words[:2] == ["depends", "on"]:
                said.append(" ".join(words[2:]))
    if not known:
        return None
    return f"depends on {'; '.join(said[:_DEPENDS_SHOWN])}" if said else "depends on what surrounds it in its Kconfig file"
