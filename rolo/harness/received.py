"""What came, as far as it is like something: for a test to count and to look at."""

from __future__ import annotations

import itertools
import typing as t
from collections.abc import Sequence

from rolo.harness import texts
from rolo.harness.record import Record
from rolo.matching import nearest_report
from rolo.matching.pattern import RequestPattern

_LISTED = 10


class Received(Sequence[Record]):
    """The requests that match a pattern, in the order in which they came.

    A sequence of :class:`Record`. The methods that say how many there ought to be raise an
    ``AssertionError`` that shows what came instead.
    """

    def __init__(
        self,
        wanted: str,
        pattern: RequestPattern,
        found: list[Record],
        everything: list[Record],
        forgotten: int,
    ) -> None:
        self._wanted = wanted
        self._pattern = pattern
        self._found = found
        self._all = everything
        self._forgotten = forgotten

    def once(self) -> Record:
        """Return the only one.

        :raises AssertionError: there is none, or more
        """
        return self.times(1)[0]

    def times(self, count: int) -> t.Self:
        """There are exactly ``count``."""
        return self._check(len(self) == count, f"{count}")

    def at_least(self, count: int) -> t.Self:
        """There are ``count`` or more."""
        return self._check(len(self) >= count, f"at least {count}")

    def at_most(self, count: int) -> t.Self:
        """There are ``count`` or fewer."""
        return self._check(len(self) <= count, f"at most {count}")

    def never(self) -> None:
        """There is none."""
        self._check(not self, "none")

    @property
    def first(self) -> Record:
        """The first.

        :raises AssertionError: there is none
        """
        return self.at_least(1)[0]

    @property
    def last(self) -> Record:
        """The last.

        :raises AssertionError: there is none
        """
        return self.at_least(1)[-1]

    def _check(self, holds: bool, count: str) -> t.Self:
        __tracebackhide__ = True
        if holds:
            return self
        raise AssertionError(self._report(count))

    def _report(self, count: str) -> str:
        aside = ""
        if self._forgotten:
            aside = f"\n(The first {self._forgotten} requests are not kept any more.)\n"
        if self:
            listed = "".join(f"  {texts.line(each)}\n" for each in self._found[:_LISTED])
            more = len(self) - _LISTED
            end = f"  and {more} more\n" if more > 0 else ""
            return (
                f"Wanted {count}, received {len(self)} of {self._wanted}:\n\n{listed}{end}{aside}"
            )
        if not self._all:
            return f"Wanted {count} of {self._wanted}. Nothing came at all.\n"
        nearest = nearest_report(
            self._pattern,
            [(f"request {each.number}", each.seen) for each in self._all],
            title=f"Wanted {count}, received none of",
        )
        return nearest + aside

    def __len__(self) -> int:
        return len(self._found)

    @t.overload
    def __getitem__(self, index: int) -> Record: ...

    @t.overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        return self._found[index]

    def __repr__(self) -> str:
        return f"<{len(self)} of {self._wanted}>"


def check_order(several: t.Sequence[Received]) -> None:
    """Check that there is one of each that came after that of the one before.

    :raises AssertionError: there is not; shows what came when
    """
    __tracebackhide__ = True
    at = 0
    for each in several:
        later = [record for record in each if record.number > at]
        if not later:
            records = sorted(
                {id(r): r for r in itertools.chain.from_iterable(several)}.values(),
                key=lambda record: record.number,
            )
            order = "".join(f"  {texts.line(record)}\n" for record in records)
            wanted = "".join(f"  {found._wanted}\n" for found in several)
            raise AssertionError(
                f"Wanted in this order:\n{wanted}Received:\n{order or '  nothing'}"
            )
        at = later[0].number
