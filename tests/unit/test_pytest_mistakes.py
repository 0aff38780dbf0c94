"""A mistake of a test's is told with what there is, and at the test's own line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.pytest_plugin.mistakes import Mistake, check_command, chosen, errno_number, number, shortened, text
from harness.pytest_plugin.networks import CommandFailed


@pytest.mark.parametrize(("value", "said"), [
    ("FORWAD", 'there is no point "FORWAD"; did you mean "FORWARD"? there are: FORWARD, INPUT'),
    ("nothing like it", 'there is no point "nothing like it"; there are: FORWARD, INPUT'),
    (7, "there is no point 7; there are: FORWARD, INPUT"),
])
def test_a_name_that_there_is_not(value: object, said: str) -> None:
    with pytest.raises(Mistake) as mistake:
        chosen("point", value, {"INPUT": 1, "FORWARD": 2})
    assert str(mistake.value) == said


def test_a_name_that_there_is_in_either_case() -> None:
    assert chosen("point", "input", {"INPUT": 1}) == 1
    assert errno_number("EPERM") == errno_number(1) == 1


@pytest.mark.parametrize("value", ["1", True, -1, 8, None, 1.5])
def test_a_number_that_is_none(value: object) -> None:
    with pytest.raises(Mistake, match="a number from 0 to 7"):
        number("the queue", value, 0, 7)


@pytest.mark.parametrize(("command", "said"), [
    ((), "the command is empty"), (("",), "the command is ''"), (("ls", "a\0b"), "the command is 'ls', 'a\\x00b'"),
    ((Path("a\0b"),), "the command is "), ((["ip", "link"],), "the command is ['ip', 'link']"), (("ip", 7), "the command is 'ip', 7")],
    ids=str)
def test_a_command_that_no_kernel_runs(command: tuple[object, ...], said: str) -> None:
    with pytest.raises(Mistake) as mistake:
        check_command(command)
    assert mistake.value.message.startswith(said)
    assert mistake.value.hint == 'a string for each word: run("ip", "link")'


def test_a_command_that_a_kernel_may_run() -> None:
    check_command([Path("/bin/echo"), "", "a b"])


@pytest.mark.parametrize(("value", "said"), [("table ip x\0 {}", "the ruleset has a NUL at character 10: "), (b"table", "is no str")])
def test_a_text_that_is_none(value: object, said: str) -> None:
    with pytest.raises(Mistake, match=said):
        text("the ruleset", value, "a text")
    assert text("the ruleset", "table ip x {}", "a text") == "table ip x {}"


def test_its_traceback_ends_in_the_test() -> None:
    call: pytest.CallInfo[None] = pytest.CallInfo.from_call(lambda: chosen("point", "x", {}), "call")
    shortened(call, Path(__file__).parent)
    assert call.excinfo is not None
    assert [Path(entry.path).name for entry in call.excinfo.traceback][-1] == Path(__file__).name


@pytest.mark.parametrize(("status", "how"), [
    (3, "ended with exit status 3"), (-9, "was ended by signal 9"), (None, "did not end within 60 s")])
def test_a_command_that_failed_says_how(status: int | None, how: str) -> None:
    failed = CommandFailed("client", ["ip", "a b"], status, "out\n", b"err\xff")
    assert isinstance(failed, subprocess.CalledProcessError)
    assert str(failed) == f"ip 'a b' {how} in client\nstdout:\nout\nstderr:\nerr\\xff"
