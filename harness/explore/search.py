"""From a scenario that differed to the shortest that does, each that counts judged on a guest that has run nothing before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.explore.guests import Behaviour
from harness.explore.minimise import Differs, fewest, minimised
from harness.host.deadlines import Deadline
from harness.scenario.step import Scenario

__all__ = ("Judges", "Search", "Shortest")

_SECONDS = 120.0


class Judges(Protocol):
    """Who judges: see :class:`harness.explore.guests.Judges`."""

    async def fresh(self, scenarios: Sequence[Scenario]) -> Behaviour:
        """Run scenarios in a fresh guest, one after the other; what the last one showed."""
        ...

    async def used(self, scenario: Scenario) -> Behaviour:
        """Run a scenario in a guest in which others have run."""
        ...


@dataclass(frozen=True, slots=True)
class Shortest:
    """What a fresh guest does differently.

    :param seen: of the last scenario
    :param before: scenarios that must run before it in its guest, for they harm the kernel; none, mostly
    :param whole: whether the search came to its end: no step can be left out
    """

    seen: Behaviour
    before: tuple[Scenario, ...] = ()
    whole: bool = True


class Search:
    """One difference, and ever smaller scenarios that show it on a fresh guest. A guest that was used before is asked first, as it is
    quick; what it says counts when a fresh one says it too.

    :param meant: kinds of differences to look for; with none any will do
    :param tell: is told what is done
    :ivar shortest: so far; ``None`` as long as no fresh guest has differed
    :ivar first: what the first fresh guest said
    """

    def __init__(self, guests: Judges, meant: Sequence[str] = (), *, tell: Callable[[str], None] = lambda _doing: None) -> None:
        self._guests, self._tell = guests, tell
        self._meant = frozenset(meant)
        self._deadline = Deadline(_SECONDS)
        self.shortest: Shortest | None = None
        self.first: Behaviour | None = None

    async def run(self, scenario: Scenario, ran: Sequence[Scenario] = ()) -> Shortest | None:
        """The shortest; ``None`` if no fresh guest differs, even after all that ran before.

        :param ran: in the guest that differed, before the scenario, in order
        """
        if not await self._confirmed((), scenario):
            await self._harmed(ran, scenario)
        if self.shortest is not None:
            rely = not self.shortest.before and await self._shrink_by_used()
            await self._shrink_by_fresh(fewest if rely else minimised)
        return self.shortest

    async def _confirmed(self, before: Sequence[Scenario], scenario: Scenario) -> bool:
        """Whether a fresh guest differs, too; what it says is the shortest then."""
        self._tell(f"trying {len(scenario.steps)} steps on a fresh guest" + (f", after {len(before)} scenarios" if before else ""))
        seen = await self._guests.fresh((*before, scenario))
        self.first = self.first or seen
        if not self._is_meant(seen):
            return False
        at = before.index(seen.scenario) if seen.scenario != scenario else len(before)
        self._meant = self._meant & {*seen.kinds} if self._meant else frozenset(seen.kinds[:1])
        self.shortest = Shortest(seen, tuple(before[:at]), whole=False)
        return True

    def _is_meant(self, seen: Behaviour) -> bool:
        return bool(self._meant & {*seen.kinds} if self._meant else seen.kinds)

    def _in_time(self) -> bool:
        return self._deadline.left() > 0

    async def _harmed(self, ran: Sequence[Scenario], scenario: Scenario) -> None:
        """The scenario is right on a kernel that nothing has harmed: find those of the others that it takes."""
        count = 1
        while not await self._confirmed(ran[-count:], scenario):
            if count >= len(ran) or not self._in_time():
                return
            count *= 2
        assert self.shortest is not None  # noqa: S101
        size = (len(self.shortest.before) + 1) // 2
        while size and self._in_time():
            end = len(self.shortest.before)
            while end > 0 and self._in_time():
                start = max(0, end - size)
                before = self.shortest.before
                await self._confirmed(before[:start] + before[end:], self.shortest.seen.scenario)
                end = start
            size //= 2

    async def _shrink_by_used(self) -> bool:
        """Go on as long as a used guest differs; go back to the last of those scenarios on which a fresh one does, too.

        :returns: whether there was no need to go back
        """
        assert self.shortest is not None  # noqa: S101
        accepted = [self.shortest.seen.scenario]

        async def differs(candidate: Scenario) -> bool:
            if not self._in_time():
                return False
            self._tell(f"shrinking, trying one of {len(candidate.steps)} steps")
            if not self._is_meant(await self._guests.used(candidate)):
                return False
            accepted.append(candidate)
            return True

        await minimised(accepted[0], differs)
        sure, doubtful = 0, len(accepted) - 1
        while sure < doubtful:
            middle = doubtful if doubtful == len(accepted) - 1 else (sure + doubtful + 1) // 2
            if await self._confirmed((), accepted[middle]):
                sure = middle
            else:
                doubtful = middle - 1
        return sure == len(accepted) - 1

    async def _shrink_by_fresh(self, smaller: Callable[[Scenario, Differs], Awaitable[Scenario]]) -> None:
        """Shrink the scenarios that are left, the last one first, on fresh guests, until every step counts."""
        assert self.shortest is not None  # noqa: S101
        for place in reversed(range(len(self.shortest.before) + 1)):
            await self._shrink_one(place, smaller)
        self.shortest = Shortest(self.shortest.seen, self.shortest.before, whole=self._in_time())

    async def _shrink_one(self, place: int, smaller: Callable[[Scenario, Differs], Awaitable[Scenario]]) -> None:
        """Make one of several scenarios shorter.

        :param place: of the scenario, among those before and the last
        """
        assert self.shortest is not None  # noqa: S101
        all_of_them = [*self.shortest.before, self.shortest.seen.scenario]
        if place >= len(all_of_them):
            return

        async def differs(candidate: Scenario) -> bool:
            tried = [*all_of_them[:place], candidate, *all_of_them[place + 1:]]
            return self._in_time() and await self._confirmed(tried[:-1], tried[-1])

        await smaller(all_of_them[place], differs)
