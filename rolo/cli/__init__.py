"""The command ``rolo``."""

from __future__ import annotations

import sys
import typing as t

from rolo.cli.arguments import parse
from rolo.cli.errors import CommandError

__all__ = ["main"]


def main(argv: t.Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0: done, or stopped by a signal; 1: it could not run, or broke down; 2: the command
    line asks for something that is not there or makes no sense.

    :param argv: arguments without the program's name; ``None`` takes the process's own
    """
    try:
        asked = parse(sys.argv[1:] if argv is None else argv)
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else 1
    # Late, so that --version and --help need no framework.
    from rolo.cli import run

    try:
        return run.command(asked)
    except CommandError as error:
        print(f"rolo: error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 1
