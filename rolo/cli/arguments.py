"""The command line: options made from the trees of settings, and the tree they fill."""

from __future__ import annotations

import argparse
import dataclasses
import typing as t

from rolo._version import __version__

if t.TYPE_CHECKING:
    from rolo.config.settings import Mistake, Setting
    from rolo.config.tree import CommandConfig, InspectConfig, MockConfig, Section

COMMANDS = {
    "proxy": "forward to an upstream",
    "record": "the same, and write what passes to a HAR file",
    "replay": "answer requests from a HAR file",
    "mock": "answer requests by stubs: a Python file, or WireMock mappings",
    "inspect": "look at a HAR file in a browser",
    "demo": "a proxy in front of a demo origin, to play with",
}


@dataclasses.dataclass(frozen=True)
class Invocation:
    """What a command line asks for."""

    argv: tuple[str, ...]
    """The command line itself, without the program's name."""
    config: CommandConfig | InspectConfig | MockConfig
    """Of a type that says which command."""
    fd: int | None = None
    """Of a worker process: its listening socket; ``None`` if it is no worker."""
    parent_fd: int | None = None
    """Of a worker process: what closes when its parent ends."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> t.NoReturn:
        """Say what is wrong in one line, without the usage in front of it."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def parse(argv: t.Sequence[str]) -> Invocation:
    """Return what ``argv`` asks for.

    :raises SystemExit: nothing is left to do, or the arguments are wrong
    """
    parser = _Parser(prog="rolo", description="A reverse proxy that you embed and script.")
    parser.add_argument("--version", action="version", version=f"rolo {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    parsers = {name: commands.add_parser(name, help=what) for name, what in COMMANDS.items()}
    command = next((word for word in argv if word in COMMANDS), None)
    if command is None:
        parser.parse_args(argv)  # which has nothing to do but to say what is wrong
        raise AssertionError(argv)
    # Late, so that --version and --help need no pydantic.
    from rolo.config.settings import Mistakes, fill
    from rolo.config.tree import TREES

    tree = TREES[command]
    by_key = _add_options(parsers[command], tree)
    if command == "proxy":
        # How a worker process gets the listening socket and learns of its parent's end.
        parsers[command].add_argument("--fd", type=int, help=argparse.SUPPRESS)
        parsers[command].add_argument("--parent-fd", type=int, help=argparse.SUPPRESS)
    given = vars(parser.parse_args(argv))
    try:
        config = fill(tree, {key: given[key] for key in by_key if key in given})
    except Mistakes as error:
        parsers[command].error("; ".join(_said(mistake, by_key) for mistake in error.mistakes))
    return Invocation(tuple(argv), config, given.get("fd"), given.get("parent_fd"))


def _add_options(parser: argparse.ArgumentParser, tree: type[Section]) -> dict[str, Setting]:
    """Add an option for each setting of ``tree``; return the settings by key."""
    from rolo.config.settings import settings

    by_key: dict[str, Setting] = {}
    for section, found in settings(tree):
        group: argparse._ActionsContainer = parser
        if section is not tree:
            group = parser.add_argument_group(section.title, section.note or None)
        for setting in found:
            _add_option(group, setting)
            by_key[setting.key] = setting
    return by_key


def _add_option(group: argparse._ActionsContainer, setting: Setting) -> None:
    names = [setting.option] if setting.short is None else [setting.short, setting.option]
    how: dict[str, t.Any] = {
        "dest": setting.key,
        "default": argparse.SUPPRESS,
        "help": _help(setting).replace("%", "%%"),
    }
    if setting.is_required:
        names = [how.pop("dest")]
        how["metavar"] = setting.option
    elif setting.is_flag:
        off = setting.default is False
        how["action"] = "store_true" if off else argparse.BooleanOptionalAction
    elif setting.kind is None:
        how["choices"] = setting.choices
    else:
        how["metavar"] = setting.kind.metavar
    group.add_argument(*names, **how)


def _help(setting: Setting) -> str:
    default = setting.written_default
    if not default or setting.default is False:  # that it is off need not be said
        return setting.help
    return f"{setting.help} (default: {default})"


def _said(mistake: Mistake, by_key: t.Mapping[str, Setting]) -> str:
    text, keys = mistake
    names = [by_key[key].option for key in keys]
    return ("argument " if len(names) == 1 else "") + text.format(*names)
