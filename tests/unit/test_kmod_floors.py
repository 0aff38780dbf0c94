"""The module's files stand on one another as the rooms of the package do: each uses only what is declared above its name in internal.h."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

KMOD = Path(__file__).parents[2] / "kmod"
HEADER = (KMOD / "internal.h").read_text()
SOURCES = {path.name: path.read_text() for path in sorted(KMOD.glob("*.c"))}

_NOT_CODE = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\])*"', re.DOTALL)
_SECTION = re.compile(r"^/\* (\w+\.c) \*/\n(.*?)(?=^/\* \w+\.c \*/|^#endif|\Z)", re.DOTALL | re.MULTILINE)
#: The name that a declaration is about: the first that an argument list, a length or the end follows.
_DECLARED = re.compile(r"(\w+)\s*(?:[(\[]|$)")


def sections(header: str) -> dict[str, list[str]]:
    """The files that a header names, from the ground up, each with the functions and variables that are declared for it."""
    return {file: [found[1] for declaration in text.split(";") if (found := _DECLARED.search(declaration.strip()))]
            for file, text in _SECTION.findall(header)}


def code(source: str) -> str:
    """A file without comments and strings, and without tags: a function may have a structure's name."""
    return re.sub(r"\bstruct \w+", "struct", _NOT_CODE.sub(" ", source))


def upward(header: str, sources: Mapping[str, str]) -> list[str]:
    """Uses of what is declared for a file that stands higher; a file without declarations stands on all others."""
    declared = sections(header)
    floors = [*declared, *(file for file in sources if file not in declared)]
    homes = {name: file for file, names in declared.items() for name in names}
    return [f"{file} uses {name} of {homes[name]}" for file in sources for name in homes
            if floors.index(homes[name]) > floors.index(file) and re.search(rf"\b{name}\b", code(sources[file]))]


def defined(source: str) -> str:
    """Lines that begin something that other files see."""
    return "\n".join(line for line in code(source).splitlines() if line[:1].isalpha() and not line.startswith("static"))


def test_each_name_is_defined_in_the_file_that_it_is_declared_for() -> None:
    declared = sections(HEADER)
    assert sum(map(len, declared.values())) > 50
    for file, names in declared.items():
        assert names, file
        for name in names:
            places = [other for other, source in SOURCES.items() if re.search(rf"\b{name}\b", defined(source))]
            assert places == [file], name


def test_only_the_modules_life_is_used_by_no_other_file() -> None:
    assert set(SOURCES) - set(sections(HEADER)) == {"main.c"}


def test_files_use_only_what_is_lower() -> None:
    assert upward(HEADER, SOURCES) == []


PLAIN = """
/* low.c */
extern int low_count;
int low(struct high *up);

/* high.c */
int high(const char *name,
int number);

#endif
"""
LOW = "int low_count;\nint low(struct high *up)\n{\n\treturn 0;\n}\n"
HIGH = "int high(const char *name, int number)\n{\n\treturn low(NULL);\n}\n"


def test_a_header_is_read() -> None:
    assert sections(PLAIN) == {"low.c": ["low_count", "low"], "high.c": ["high"]}


@pytest.mark.parametrize(("low", "found"), [
    (LOW, []),
    (LOW.replace("return 0", "return high(0, 1)"), ["low.c uses high of high.c"]),
    (LOW + "static int (*const pointer)(const char *, int) = high;\n", ["low.c uses high of high.c"]),
    (LOW.replace("return 0", '/* high */ return "high"'), []),
])
def test_every_use_of_what_is_higher_is_seen(low: str, found: list[str]) -> None:
    assert upward(PLAIN, {"low.c": low, "high.c": HIGH}) == found
