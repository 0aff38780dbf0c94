"""``nfharness help``."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import resources

import click
from click.shell_completion import CompletionItem

from harness.cli.say import say

__all__ = ("command", "page", "topics")

_PAGES = resources.files("harness") / "docs"


def topics() -> dict[str, str]:
    """Topic → the title of its page."""
    pages = {entry.name.removesuffix(".md"): entry.read_text(encoding="utf-8") for entry in _PAGES.iterdir() if entry.name.endswith(".md")}
    return {topic: pages[topic].partition("\n")[0].removeprefix("# ") for topic in sorted(pages)}


def page(topic: str) -> str:
    """The page of a topic, as Markdown.

    :raises click.UsageError: there is none
    """
    if topic not in topics():
        close = get_close_matches(topic, topics(), 1)
        raise click.UsageError(f"No such topic {topic!r}." + (f" Did you mean {close[0]!r}?" if close else " 'nfharness help' lists them."))
    return (_PAGES / f"{topic}.md").read_text(encoding="utf-8")


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(topic, help=title) for topic, title in topics().items() if topic.startswith(incomplete)]


@click.command("help")
@click.argument("topic", required=False, shell_complete=_complete)
def command(topic: str | None) -> None:
    """Print the page of TOPIC, or list the topics. The options of a command: 'nfharness COMMAND --help'."""
    if topic:
        say(*page(topic).splitlines())
        return
    found = topics()
    width = max(map(len, found))
    say("Topics of nfharness help TOPIC:", "", *(f"  {name:{width}}  {title}" for name, title in found.items()), "",
        "The options of a command: nfharness COMMAND --help")
