"""What a request must be like, whether one is, and what is different: rules without I/O.

Stubs, verification, replay and faults all choose requests in these words.
"""

from __future__ import annotations

from rolo.matching.differences import Difference
from rolo.matching.index import Index
from rolo.matching.matchers import (
    ABSENT,
    ANY,
    Matcher,
    contains,
    each,
    one_of,
    only,
    regex,
    satisfies,
    subset,
    unordered,
)
from rolo.matching.pattern import Match, Miss, RequestPattern, part
from rolo.matching.report import miss_report, nearest_report
from rolo.matching.seen import Part, Seen

__all__ = [
    "ABSENT",
    "ANY",
    "Difference",
    "Index",
    "Match",
    "Matcher",
    "Miss",
    "Part",
    "RequestPattern",
    "Seen",
    "contains",
    "each",
    "miss_report",
    "nearest_report",
    "one_of",
    "only",
    "part",
    "regex",
    "satisfies",
    "subset",
    "unordered",
]
