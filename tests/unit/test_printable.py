"""What a bundle, a kernel or a packet says cannot act on the terminal that it is shown on."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

import harness
from harness.cli.say import say
from harness.host.terminal import Terminal
from harness.printable import printable, printable_line
from harness.vm import console

_CLI = Path(harness.__file__).parent / "cli"
_HOSTILE = "a\x1b[2K\x1b]0;title\x07\r\x9b31mb\u202e\udc80\x7f"
_SAFE = r"a\x1b[2K\x1b]0;title\x07\x0d\x9b31mb\u202e\udc80\x7f"


def test_control_characters_are_shown_as_escapes() -> None:
    assert printable(f"{_HOSTILE}\n\t│ü✓") == f"{_SAFE}\n\t│ü✓"
    assert printable_line("one\nconformant") == r"one\x0aconformant"


def test_of_what_is_said_and_what_a_table_holds(capsys: pytest.CaptureFixture[str]) -> None:
    say(_HOSTILE, "two\nlines")
    assert capsys.readouterr().out == f"{_SAFE}\ntwo\\x0alines\n"
    table = Table(_HOSTILE, box=None)
    table.add_row(Text(_HOSTILE, style="red"))
    file = io.StringIO()
    terminal = Terminal(file=file, width=200, force_terminal=True, color_system="standard")
    terminal.print(table)
    terminal.print(f"[green]{_HOSTILE}[/]", highlight=False)
    shown = file.getvalue()
    assert "\x1b[32m" in shown, "our own colour"
    assert "\x1b[2K" not in shown and "\x1b]" not in shown and "\x07" not in shown and "\u202e" not in shown
    assert r"\x1b[2K" in shown


def test_of_a_console() -> None:
    assert console.cleaned(b"\x1b[0mone\r\n\x1b]0;title\x07two\n") == "one\n" r"\x1b]0;title\x07two" "\n"


def _prints(path: Path) -> list[str]:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    return [f"{path.name}:{call.lineno}" for call in named if not ast.unparse(call).startswith("print(json.dumps(")]


def test_commands_print_json_and_say_everything_else() -> None:
    assert [place for path in sorted(_CLI.glob("*.py")) if path.name != "say.py" for place in _prints(path)] == []
