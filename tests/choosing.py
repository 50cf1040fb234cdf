"""Which of the cases of a test run: each variation somewhere, each server with something.

A test that is parametrized by server, mode and variation is one rule of ours, and the same
code of ours runs in most of its cases. Of each such test these are kept:

- native meets every variation, in its two modes by turns;
- every other server meets one variation, in one of its modes: that is what its adapter needs.
  Which ones differs from test to test, so that each server meets both modes often;
- a server that ``@pytest.mark.all_variations_on`` names meets every variation as native does:
  for what its own parser or writer decides, or for another client of ours behind it.

``--everywhere`` runs all of them.
"""

from __future__ import annotations

import re
import typing as t
import zlib

OWN_HTTP = ("native", "twisted")
"""Servers whose HTTP/1.1 and websockets are ours: on each, the same code meets the client."""

PAIR = re.compile(r"(native|uvicorn|hypercorn|granian|werkzeug|twisted)(?:-(threads|loop))?")


class Case(t.NamedTuple):
    """One case of a test: where it runs, and what it varies."""

    server: str
    mode: str
    variation: str


def case_of(params: dict[str, t.Any], name: str) -> Case | None:
    """Return the case that ``params`` stand for; ``None`` for one that names no server.

    :param name: as pytest calls the parameters; less the server, it names the variation
    """
    server, mode = "", ""
    for value in params.values():
        if isinstance(value, str) and (pair := PAIR.fullmatch(value)):
            server, mode = pair[1], pair[2] or mode
        elif value in ("threads", "loop"):
            mode = value
        else:
            continue
        name = name.replace(value, "", 1)
    return Case(server, mode or "threads", name) if server else None


def chosen(test: str, cases: t.Iterable[Case], everything_on: t.Collection[str]) -> set[Case]:
    """Return those of ``cases`` that are worth their time.

    :param test: its name, from which what differs from test to test is taken
    :param everything_on: the servers that meet every variation, besides native
    """
    found: dict[str, dict[str, list[str]]] = {}
    for case in sorted(cases):
        found.setdefault(case.server, {}).setdefault(case.variation, []).append(case.mode)
    turn = zlib.crc32(test.encode())
    kept = set()
    for place, (server, variations) in enumerate(found.items()):
        listed = sorted(variations)
        if server == "native" or "native" not in found or server in everything_on:
            meets = listed
        else:
            meets = [listed[turn % len(listed)]]
        for number, variation in enumerate(meets):
            modes = variations[variation]
            if server == "native" and len(listed) == 1:  # with nothing to take turns
                kept |= {Case(server, mode, variation) for mode in modes}
            else:
                kept.add(Case(server, modes[(turn + place + number) % len(modes)], variation))
    return kept
