"""``nfharness trace``."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import reports
from harness.cli.options import Seconds, backend_option, files_option, json_option, kernel_option, with_option
from harness.errors import EmulatorFailed, ExitCode, KernelDied, NfharnessError, UserError

if TYPE_CHECKING:
    from harness.backends.following import Told
    from harness.backends.names import Backend
    from harness.cli.explained import Explained
    from harness.cli.sessions import Obeyed, Seen
    from harness.host.terminal import Terminal
    from harness.outcome.types import Outcome, PacketOutcome
    from harness.vm.channel import Remote
    from harness.walks.filter import Filter
    from harness.walks.names import Name

__all__ = ("command",)


class _WithCommand(click.Command):
    """A command whose arguments before ``--`` are a filter, and those behind it another command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, dashes, ctx.obj = args, False, ()
        if "--" in args:
            own, ctx.obj, dashes = args[:args.index("--")], tuple(args[args.index("--") + 1:]), True
        rest = super().parse_args(ctx, own)
        if not ctx.resilient_parsing and dashes and not ctx.obj:
            raise click.UsageError("Nothing stands behind --: a command is to.", ctx)
        return rest

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[OPTIONS] [FILTER]... -- COMMAND [ARGUMENT]...")


def _complete_example(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from harness.cli.examples import described  # noqa: PLC0415

    return [name for name in described() if name.startswith(incomplete)]


@click.command("trace", cls=_WithCommand)
@kernel_option
@backend_option
@json_option
@with_option
@files_option
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, metavar="N",
              help="Print the walks of at most N packets; 0 for all. --json and --follow have them all.")
@click.option("--drops", is_flag=True, help="Show what was dropped or rejected alone, first by flow and by who did it.")
@click.option("--follow", is_flag=True,
              help="Print each packet as soon as it has come to its end; with --json a line for each, which --read takes as well.")
@click.option("--short", is_flag=True, help="Print a line for each packet.")
@click.option("--slowest", type=click.IntRange(min=1), metavar="N",
              help="Print the N packets that kept their hooks busy longest, the slowest first.")
@click.option("--summary", is_flag=True, help="Print for each hook how often it was called, its verdicts and times, instead of the walks.")
@click.option("--pcapng", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write FILE for Wireshark, too: a block for each hook point that a packet crossed, what its hooks did as comments.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write a page for a browser to FILE, too: where the packets came by, as a picture, and their walks.")
@click.option("--perfetto", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write FILE for ui.perfetto.dev or chrome://tracing, too: traversals and hook calls in time, in the Trace Event Format.")
@click.option("--clock", is_flag=True, help="Print when packets were seen by the clock, not since the first of them.")
@click.option("--check", is_flag=True, help="Hold each traversal against core.c: whether the loop went on as the hooks' verdicts say.")
@click.option("--registrations", is_flag=True, help="Print hooks that are registered and unregistered, too: by whom, and what it makes of "
              "the point's array; and which generation of that each packet met.")
@click.option("--noise", is_flag=True, help="Print packets of neighbour discovery, ARP and multicast groups, too.")
@click.option("--for", "seconds", type=Seconds(), metavar="SECONDS",
              help="Without COMMAND: watch for so long, not until Ctrl-C.")
@click.option("--until", "last", metavar="FILTER", help="End the session when a packet that FILTER chooses has come to its end.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End the session when N packets have been printed.")
@click.option("--explain", type=click.IntRange(min=1), metavar="N",
              help="Explain packet N instead of printing walks: the rules of the chain that decided, with what was true for the packet.")
@click.option("--at", metavar="TEXT", help="With --explain: the base chains that have TEXT in their names, or at that hook point.")
@click.option("--example", metavar="NAME", is_flag=False, flag_value="", shell_complete=_complete_example,
              help="Run a worked example as COMMAND; without NAME list them.")
@click.option("--script", is_flag=True, help="Print the example, to start from, and run nothing.")
@click.option("--read", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Show a session again that --json has written; nothing is run.")
@click.argument("words", nargs=-1, metavar="[FILTER]...")
@click.pass_obj
def command(  # noqa: PLR0917 - click passes them by name
    argv: tuple[str, ...], spec: str, backend: Backend, as_json: bool, with_packages: tuple[str, ...], files: tuple[Path, ...], limit: int,
    drops: bool, short: bool, follow: bool, noise: bool, slowest: int | None, summary: bool, pcapng: Path | None, html: Path | None,
    perfetto: Path | None, clock: bool, check: bool, registrations: bool, seconds: float | None, last: str | None, count: int | None,
    explain: int | None, at: str | None, example: str | None, script: bool, read: Path | None, words: tuple[str, ...],
) -> None:
    """Run COMMAND in a fresh guest and show its packets' walks through the hooks.

    COMMAND is anything that the guest has: ping, nft, a shell script. It runs as root in /root, with lo up and no other network
    device; namespaces that it makes are named as in /run/netns, the one that it starts in is "init". Standard input, output and error
    and signals are passed through, and after it the report is printed: each packet, each hook point that has hooks, each hook with
    its priority, verdict and time, the rule of nftables' that decided, what the packet had become, its end, and what the kernel
    complained of meanwhile (warnings, taint). If the kernel dies, the walks until then are printed, and then its console. With --json
    the report is one object on standard output, and COMMAND's own standard output goes to standard error.

    Packets of neighbour discovery, ARP and multicast groups that all hooks accepted are counted, not printed: --noise prints them.

    FILTER chooses packets: "dropped and host 10.0.2.2", "netns router and by 'inet admin'", "verdict queue or slower 1ms"; what does not
    begin with a word of ours is libpcap's (pcap-filter(7)). On a Vagrant machine or this one (--backend) COMMAND may be left out: what
    is going on there anyway is shown when Ctrl-C is pressed, or after --for.

    A session that --until or --count ends sends COMMAND SIGTERM, and its exit status is 0.

    \b
    nfharness trace -- ping -c1 127.0.0.1
    nfharness trace dropped and tcp port 80 --file rules.nft -- sh test.sh
    sudo nfharness trace --backend local --for 10 --drops
    sudo nfharness trace --backend local --until 'dropped and tcp port 80'
    nfharness trace --json -- sh test.sh > session.json; nfharness trace --read session.json by admin
    nfharness trace --drops --file rules.nft -- sh test.sh
    nfharness trace --read session.json --explain 7
    nfharness trace --file rules.nft -- sh -c 'nft -f rules.nft; ping -c1 127.0.0.1'
    nfharness trace -- sh < script.sh
    nfharness trace --example docker; nfharness trace --example docker --script > mine.sh

    Exit status: COMMAND's own (127 if the guest does not have it, 128 + n if signal n ended it); 125 if events were lost or the
    tracer's counters do not balance, whatever COMMAND's was, or if this host or guest cannot do it. With --check 1 if a traversal did not
    obey core.c.
    """
    if example is not None:
        if argv or read or backend != "qemu":
            raise click.UsageError("--example is the COMMAND, in a fresh guest: no other one, no --read, no --backend.")
        if script or not example:
            _show_example(example)
            return
        from harness.cli.examples import files as files_of  # noqa: PLC0415

        network, own = files_of(example)
        argv, files = ("sh", own.name), (*files, network, own)
    elif script:
        raise click.UsageError("--script prints an example: --example NAME says which.")
    if read and (argv or files or with_packages or follow or last or count or registrations or seconds is not None):
        raise click.UsageError("--read shows a session that is over, with the registrations that it saw: no COMMAND, --file, --with, "
                               "--follow, --for, --until, --count or --registrations.")
    if follow and summary:
        raise click.UsageError("--follow shows packets, --summary none.")
    if at is not None and explain is None:
        raise click.UsageError("--at says where --explain explains a packet.")
    if explain and (follow or drops or short or slowest or summary):
        raise click.UsageError("--explain shows one packet when the session is over: no --follow, --drops, --short, --slowest, --summary.")
    if summary and (short or slowest):
        raise click.UsageError("--summary shows hooks, --short and --slowest packets.")
    if follow and slowest:
        raise click.UsageError("--follow and --slowest: which are slowest is known when the session is over.")
    if not argv and not read and backend == "qemu":
        raise click.UsageError("a fresh guest has no traffic but COMMAND's, which stands behind --: nfharness trace -- ping …")
    if argv and seconds is not None:
        raise click.UsageError("--for and COMMAND: its end is the session's.")
    from harness.walks.filter import filter_of, joined  # noqa: PLC0415

    wanted = filter_of(joined(words)) if words else None
    until = filter_of(last) if last else None
    view = None if as_json else _View(0 if follow else limit, slowest, drops=drops, short=short, noise=noise, summary=summary, clock=clock,
                                      explain=explain is not None)
    with ExitStack() as stack:
        outputs = reports.opened(stack, {"pcapng": pcapng, "html": html, "perfetto": perfetto}, [read] if read else ())
        waited = ("sleep", "infinity" if seconds is None else f"{seconds}")
        plan = _Plan(argv or waited, files, with_packages, wanted, until, count, follow, not argv, lean=not (check or outputs or explain),
                     registrations=registrations, rulesets=explain is not None or as_json,
                     explain=None if explain is None else (explain, at), summary=summary and not as_json)
        session = asyncio.run(_again(read, plan, view) if read else _traced(spec, backend, plan, view))
        sys.exit(session if isinstance(session, int) else _tell(session, plan, outputs, view=view, check=check))


def _show_example(name: str) -> None:
    """Print an example, or the list of all."""
    from harness.cli.examples import described, script  # noqa: PLC0415
    from harness.cli.say import say  # noqa: PLC0415

    if name:
        say(*script(name).splitlines())
    else:
        width = max(map(len, described()))
        say(*(f"{one:{width}}  {what}" for one, what in described().items()))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is run and watched.

    :param argv: the command
    :param files: that it finds in its directory
    :param with_packages: that the guest has beside the userland's
    :param wanted: which of its packets are shown, all for ``None``
    :param until: with which packet it ends, if with any
    :param count: after how many packets it ends, if after any
    :param follows: packets are printed while it goes on
    :param waits: it stands for no command: how it ends is nobody's failure
    :param lean: nothing is asked for in the end that needs packets which were printed meanwhile
    :param registrations: hooks that are registered and unregistered are watched, too
    :param rulesets: whole rulesets are listed, too
    :param explain: number of a packet that is explained, and where that is asked for
    :param summary: hooks are counted, and no packet is printed
    """

    argv: Sequence[str]
    files: Sequence[Path]
    with_packages: Sequence[str]
    wanted: Filter | None
    until: Filter | None
    count: int | None
    follows: bool
    waits: bool
    lean: bool
    registrations: bool
    rulesets: bool
    explain: tuple[int, str | None] | None
    summary: bool

    @property
    def sought(self) -> tuple[Name, ...]:
        """The names that its filters have."""
        return tuple(name for each in (self.wanted, self.until) if each for name in each.names)

    @property
    def forgets(self) -> bool:
        """Whether packets are forgotten while it goes on."""
        return self.lean and (self.follows or self.summary)

    @property
    def is_watched(self) -> bool:
        """Whether packets are looked at while it goes on."""
        return self.follows or self.forgets or self.until is not None or self.count is not None


@dataclass(frozen=True, slots=True)
class _View:
    """What is printed.

    :param limit: packets at most, 0 for all
    :param slowest: the slowest alone, so many, all for ``None``
    :param drops: those that were dropped alone
    :param short: in a line each
    :param noise: those that nobody asks for, too
    :param summary: the hooks instead of the packets
    :param clock: the time of day
    :param explain: one packet is explained instead
    """

    limit: int
    slowest: int | None
    drops: bool
    short: bool
    noise: bool
    summary: bool
    clock: bool
    explain: bool

    def wants(self, packet: PacketOutcome) -> bool:
        """Whether a packet is printed."""
        from harness.walks import short  # noqa: PLC0415

        return (short.dropped(packet) or not self.drops) and (self.noise or not short.is_noise(packet))


async def _traced(spec: str, backend: Backend, plan: _Plan, view: _View | None) -> Seen | int:
    """Run the command in a guest, and watch it.

    :param view: ``None`` for JSON: then the command's standard output goes to our standard error
    :returns: the exit status alone, if it cannot be run
    """
    from harness.backends.filtering import compiled, filtered, in_guest  # noqa: PLC0415
    from harness.backends.following import Told, following  # noqa: PLC0415
    from harness.backends.observer import Complaints, Observation  # noqa: PLC0415
    from harness.backends.sources import open_guest  # noqa: PLC0415
    from harness.cli.exec import refused, relay  # noqa: PLC0415 - not before the options are known to be right
    from harness.cli.guest_files import copy_into  # noqa: PLC0415
    from harness.cli.run import kernel_facts  # noqa: PLC0415
    from harness.cli.sessions import Seen, head  # noqa: PLC0415
    from harness.host.progress import Progress  # noqa: PLC0415
    from harness.vm.channel import Request  # noqa: PLC0415

    async with open_guest(spec, Progress(), backend, "trace", with_packages=plan.with_packages) as opened:
        ask, facts = in_guest(opened.guest), kernel_facts(opened)
        told = Told(lean=plan.forgets, owners=plan.summary)

        async def chosen(outcome: Outcome, by: Filter | None = plan.wanted) -> Outcome:
            return await filtered(ask, by, outcome) if by else outcome

        def seen() -> dict[str, Any]:
            return {"sought": plan.sought, **(told.seen() if plan.follows or plan.forgets else {"earlier": told.earlier})}

        for each in filter(None, (plan.wanted, plan.until)):
            await compiled(ask, each)
        await copy_into(opened.guest, plan.files)
        observation = await Observation.start(opened.guest, registrations=plan.registrations, rulesets=plan.rulesets, forgets=plan.forgets)
        try:
            remote = await opened.guest.open(Request(argv=plan.argv, cwd=opened.guest.cwd))
        except OSError as error:
            return refused(plan.argv[0], error)
        status: int | None = None
        if plan.follows and view is None:
            print(json.dumps(head(facts, plan.argv, plan.wanted)), flush=True)
        until = partial(chosen, by=plan.until) if plan.until else None
        settled = following(observation, chosen, told, until)
        watching = asyncio.create_task(_watched(settled, _watcher(plan, view, told), remote)) if plan.is_watched else None
        try:
            status = await relay(remote, stdout=1 if view else 2)
            if await _stopped(watching):
                status = 0
            observed, complaints = await observation.end(told.done)
            shown = await chosen(observed)
            return Seen(facts, plan.argv, status, observed, shown, complaints, **seen())
        except (KernelDied, EmulatorFailed) as error:
            observed = await observation.rescued(error, told.done)
            return Seen(facts, plan.argv, status, observed, observed, Complaints(), error, **seen())
        finally:
            await _stopped(watching)


async def _watched(settled: AsyncIterator[Outcome], show: Callable[[Outcome], bool], remote: Remote) -> bool:
    """Show the packets that come to their ends, and end the command when that is enough."""
    async for outcome in settled:
        if show(outcome):
            break
    await remote.signal(signal.SIGTERM)
    return True


async def _stopped(watching: asyncio.Task[bool] | None) -> bool:
    """End what follows a session; that the kernel died is told elsewhere.

    :returns: whether it had seen enough
    """
    if watching:
        watching.cancel()
        with suppress(asyncio.CancelledError, NfharnessError):
            return await watching
    return False


async def _again(path: Path, plan: _Plan, view: _View | None) -> Seen:
    """A session that was written: all its packets, or only those that a lean view prints.

    :param view: ``None`` for JSON
    """
    from harness.backends.filtering import filtered, on_this_host  # noqa: PLC0415
    from harness.cli.recorded import KeptPackets, Recorded  # noqa: PLC0415

    kept = KeptPackets(summary=plan.summary)
    if view and plan.lean:
        kept = KeptPackets(view.wants, limit=view.limit, slowest=view.slowest, summary=view.summary)
    recorded = Recorded(path)
    for batch in recorded.batches():
        shown = await filtered(on_this_host, plan.wanted, batch) if plan.wanted else batch
        kept.take(batch, shown)
    return replace(kept.session(recorded), sought=plan.sought if recorded.is_whole else ())


def _tell(session: Seen, plan: _Plan, outputs: Mapping[str, reports.ReportFile], *, view: _View | None, check: bool) -> int:
    """Print a session, write its files, and return the exit status.

    :param outputs: those files, by their options
    :param view: ``None`` for JSON
    :param check: whether core.c was obeyed
    :raises KernelDied: it did
    :raises EmulatorFailed: QEMU ended with the guest
    :raises UserError: the packet that is to be explained is not there
    """
    from harness.cli.session_files import contents  # noqa: PLC0415

    obeyed = _held_against_core(session.observed, session.facts) if check and not session.reasons else None
    told, wrong = _explained(session, plan)
    if view is None:
        _print_json(session, plan, obeyed, told)
    else:
        _print(session, view, obeyed, told)
    if wrong:
        raise wrong
    reports.write_all(outputs, contents(session, plan.wanted, obeyed))
    if session.died is not None:
        raise session.died
    if obeyed and obeyed[1]:
        return ExitCode.DIFFERENT
    if session.reasons:
        return ExitCode.CANNOT
    return 0 if plan.waits else ExitCode.CANNOT if session.status is None else session.status


def _explained(session: Seen, plan: _Plan) -> tuple[Explained | None, UserError | None]:
    """What is asked about a packet, or why there is nothing to tell of it: that is said behind what was seen."""
    from harness.cli.explained import explain  # noqa: PLC0415

    if plan.explain is None:
        return None, None
    try:
        return explain(session, *plan.explain), None
    except UserError as error:
        return None, error


def _print_json(session: Seen, plan: _Plan, obeyed: Obeyed | None, told: Explained | None) -> None:
    from harness.cli.sessions import report, tail  # noqa: PLC0415
    from harness.walks.session_lines import numbered  # noqa: PLC0415

    if not plan.follows:
        document = report(session, plan.wanted, obeyed)
        if told is not None:
            from harness.cli.explained import to_json  # noqa: PLC0415

            document["explained"] = to_json(told)
        print(json.dumps(document, indent=1))
        return
    rest = tuple(packet for packet in session.shown.packets if packet.number not in session.told)
    shown = replace(session.shown, packets=rest, registrations=session.shown.registrations[session.registered:])
    last, = numbered([tail(session, obeyed)], _print_lines(shown, session.last))
    print(json.dumps(last))


def _print_lines(shown: Outcome, last: int, *, flush: bool = False) -> int:
    """Print a line for each packet and each registration.

    :param last: the number of the line before
    :returns: that of the last line
    """
    from harness.cli.sessions import line  # noqa: PLC0415
    from harness.walks.session_lines import numbered  # noqa: PLC0415
    from harness.walks.timeline import timeline  # noqa: PLC0415

    lines = list(numbered(map(line, timeline(shown)), last))
    for each in lines:
        print(json.dumps(each), flush=flush)
    return last + len(lines)


def _held_against_core(observed: Outcome, facts: Mapping[str, Any]) -> Obeyed:
    from harness.model.observed import departures  # noqa: PLC0415
    from harness.outcome.profile import KernelProfile  # noqa: PLC0415

    try:
        profile = KernelProfile.from_json(facts["profile"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError("the session does not tell what its kernel does: there is nothing to hold it against",
                        hint="name a file that trace --json wrote, or leave out --check") from None
    return departures(observed, profile)


def _print(session: Seen, view: _View, obeyed: Obeyed | None, told: Explained | None) -> None:
    from rich.text import Text  # noqa: PLC0415

    from harness.cli.sessions import conclusion, obedience, remarks  # noqa: PLC0415
    from harness.host.terminal import Terminal  # noqa: PLC0415

    observed, complaints = session.observed, session.complaints
    console = Terminal.wide(120)
    complained = complaints.splats or complaints.taint or complaints.unregistered
    style = "bold yellow" if session.reasons or complained else "bold"
    last = Text(conclusion(session), style)
    if style != "bold":
        console.print(last, end="\n\n", highlight=False, soft_wrap=True)
    if view.explain:
        _print_explained(console, told)
    elif view.summary:
        from harness.walks.owners import owners_table  # noqa: PLC0415

        _print_walks(console, replace(session.shown, packets=()), replace(view, short=True))
        console.print(owners_table(session.totals.owners or ()))
    else:
        _print_packets(console, session, view)
    for remark in remarks(session):
        console.print(*([""] if observed.packets else []), Text(remark), sep="\n", highlight=False, soft_wrap=True)
    for line in complaints.log:
        console.print(Text(f"  | {line}"), highlight=False, soft_wrap=True)
    console.print(*([""] if observed.packets else []), last, sep="\n", highlight=False, soft_wrap=True)
    if obeyed:
        console.print(Text(obedience(obeyed), "bold red" if obeyed[1] else "bold green"))
        for one in obeyed[1]:
            console.print(Text(f"  ✗ {one}", "red"), highlight=False, soft_wrap=True)


def _print_explained(console: Terminal, told: Explained | None) -> None:
    from harness.cli.explained import lines  # noqa: PLC0415

    if told is not None:
        console.print(*lines(told), sep="\n", highlight=False, soft_wrap=True)


def _print_packets(console: Terminal, session: Seen, view: _View) -> None:
    """The packets that were not printed while the session went on, and how many of all are not printed."""
    from harness.cli.sessions import counted  # noqa: PLC0415
    from harness.walks import short  # noqa: PLC0415

    totals = session.totals
    rest = [packet for packet in session.shown.packets if view.wants(packet) and packet.number not in session.told]
    if view.slowest:
        rest = sorted(rest, key=short.busy, reverse=True)[:view.slowest]
    shown = rest[:view.limit] if view.limit else rest
    if view.drops:
        groups = Counter[short.Group]()
        for (group, is_noise), count in totals.drops.items():
            groups[group] += count * (view.noise or not is_noise)
        console.print(*short.drops(+groups), *([] if view.short else [""]), sep="\n", highlight=False, soft_wrap=True)
    registrations = session.shown.registrations[session.registered:]
    _print_walks(console, replace(session.shown, packets=tuple(shown), registrations=registrations), view)
    if left_out := len(rest) - len(shown) + session.more:
        console.print(f"\n… and {counted(left_out, 'more packet')}: --limit 0 prints all", highlight=False)
    noise = Counter[str]()
    for (kind, gone), count in totals.noise.items():
        noise[kind] += count * (not view.noise and (gone or not view.drops))
    if noise := +noise:
        console.print(f"\n… and {short.folded(noise)}, which all hooks accepted: --noise prints them", highlight=False, soft_wrap=True)
    if view.drops and totals.chosen and not totals.drops:
        console.print("nothing was dropped or rejected", highlight=False)


def _print_walks(console: Terminal, shown: Outcome, view: _View) -> None:
    from harness.outcome.types import Registration  # noqa: PLC0415
    from harness.walks import short  # noqa: PLC0415
    from harness.walks.render import render_walks  # noqa: PLC0415
    from harness.walks.timeline import timeline  # noqa: PLC0415

    began = shown.began if view.clock else None
    if view.short:
        lines = [short.registered(one, began) if isinstance(one, Registration) else short.one_line(one, began) for one in timeline(shown)]
        console.print(*lines, sep="\n", end="\n" if lines else "", highlight=False, soft_wrap=True)
    else:
        # The reasons to doubt it all are in the first and the last line.
        render_walks(console, replace(shown, began=began, lost_events=0, doubts=()))


def _watcher(plan: _Plan, view: _View | None, told: Told) -> Callable[[Outcome], bool]:
    """What looks at packets while the session goes on, prints them if it is followed, and says whether they are enough.

    :param view: ``None`` for JSON
    :param told: counts the lines of JSON
    """
    from harness.host.terminal import Terminal  # noqa: PLC0415

    console, seen = Terminal.wide(120), 0

    def show(settled: Outcome) -> bool:
        nonlocal seen
        wanted = [packet for packet in settled.packets if view is None or view.wants(packet)]
        chosen = replace(settled, packets=tuple(wanted))
        if plan.follows and view is None:
            told.last = _print_lines(chosen, told.last, flush=True)
        elif plan.follows and view and (wanted or settled.registrations):
            _print_walks(console, chosen, view)
            console.print(end="" if view.short else "\n")
        seen += len(wanted)
        return plan.count is not None and seen >= plan.count

    return show
