"""What the pages say to import is there, under that path."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import harness

PAGES = sorted((Path(harness.__file__).parent / "docs").glob("*.md"))
IMPORT = re.compile(r"^from (harness[\w.]*) import ([\w, ]+)$", re.MULTILINE)
IMPORTS = [(page.name, module, name.strip()) for page in PAGES for module, names in IMPORT.findall(page.read_text())
           for name in names.split(",")]


@pytest.mark.parametrize(("page", "module", "name"), IMPORTS)
def test_an_import_of_a_page_works(page: str, module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", ["Topology", "Link", "VethEnd", "Route", "RunningKernel", "Lab", "Host", "Delivered"])
def test_a_page_says_where_a_type_is_imported_from(name: str) -> None:
    assert name in {imported for page, _, imported in IMPORTS if page == "writing-tests.md"}
