"""``python -m benchmarks``: measure, print tables, and write them where asked."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import signal
import sys

from benchmarks import process
from benchmarks.chart import as_svg
from benchmarks.measurements import FULL, MEASUREMENTS, QUICK, Scale
from benchmarks.report import as_json, as_markdown
from benchmarks.runner import run_rounds
from benchmarks.subjects import DEFAULT_SUBJECTS, SUBJECTS


def _names(known: dict[str, object], text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"no {name!r} among {', '.join(known)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument(
        "--only",
        metavar="NAMES",
        type=lambda text: _names(dict(MEASUREMENTS), text),
        default=list(MEASUREMENTS),
        help=f"of {', '.join(MEASUREMENTS)}",
    )
    parser.add_argument(
        "--subjects",
        metavar="NAMES",
        type=lambda text: _names(dict(SUBJECTS), text),
        default=list(DEFAULT_SUBJECTS),
        help=f"of {', '.join(SUBJECTS)}; default {', '.join(DEFAULT_SUBJECTS)}",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="default 3, with --quick 1")
    parser.add_argument("--seconds", type=float, metavar="S", help="of load per measurement")
    parser.add_argument("--megabytes", type=int, metavar="N", help="per transfer")
    parser.add_argument("--streams", type=int, metavar="N", help="event streams at once")
    parser.add_argument("--sockets", type=int, metavar="N", help="idle websockets at once")
    parser.add_argument(
        "--pin",
        action=argparse.BooleanOptionalAction,
        default=process.can_pin(),
        help="one core for the subject, the others for the load (default where possible)",
    )
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write every sample")
    parser.add_argument("--svg", type=pathlib.Path, metavar="FILE", help="draw bar charts")
    return parser


def _scale(options: argparse.Namespace) -> Scale:
    wanted = {"seconds", "megabytes", "streams", "sockets"}
    given = {key: value for key, value in vars(options).items() if key in wanted and value}
    return dataclasses.replace(QUICK if options.quick else FULL, **given)


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    # So that a terminated run still ends the processes it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rounds = options.rounds or (1 if options.quick else 3)
    pin = options.pin and process.can_pin()
    results = run_rounds(options.subjects, options.only, rounds, _scale(options), pin=pin)
    print(as_markdown(results), end="")
    if options.json:
        options.json.write_text(as_json(results))
    if options.svg:
        options.svg.write_text(as_svg(results))
    return 0 if results.samples else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
