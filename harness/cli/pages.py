"""Pages for a browser: each one file that needs nothing else, neither network nor server."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

import harness

__all__ = ("rendered",)


def rendered(template: str, **values: Any) -> str:
    """A page; what is put into it is escaped.

    :param template: its file's name in ``harness/cli/templates``
    :param values: for the template, which knows ``version`` as well
    """
    environment = Environment(
        loader=PackageLoader("harness.cli"), autoescape=select_autoescape(["html"]), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(template).render(version=harness.__version__, **values)
