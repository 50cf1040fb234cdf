"""Writes ``command.md``, the reference of all options, from the tree of settings::

    python docs/command_page.py

``tests/test_config.py`` compares the page with the tree.
"""

from __future__ import annotations

import pathlib

from rolo.config.settings import Setting, settings
from rolo.config.tree import (
    CommandConfig,
    ForwardingConfig,
    InspectConfig,
    MockConfig,
    ProxyConfig,
    RecordConfig,
    ReplayConfig,
    Section,
)

PAGE = pathlib.Path(__file__).with_name("command.md")

HEAD = """\
# The command

`rolo proxy UPSTREAM` forwards to an upstream, `rolo record UPSTREAM FILE` also writes what passes to a HAR file,
`rolo replay FILE` answers from such a file, `rolo mock FILE` by stubs, `rolo inspect FILE` shows it in a browser, `rolo demo` puts a proxy in front of an origin to play with. What is wrong
with a command line, or a file, is said in one line that names the option, or the place in the file, with exit code 2; 1
means that it could not run, 0 that it was stopped by a signal.

This page is made from the settings themselves (`python docs/command_page.py`). "Setting" is their name in the trees of
`rolo.config.tree`: `ProxyConfig`, `RecordConfig`, `ReplayConfig`, `MockConfig`, `InspectConfig`. Times are seconds, or written with `ms`, `s`, `m`, `h`;
sizes are bytes, or written with `k`, `m`, `g` (1024 each); `none` is no limit. What the limits mean in Python:
[limits and timeouts](limits-and-timeouts.md).
"""

RECORD = """
Has the options of `rolo proxy`, but for `--script`, `--reload` and `--workers`, and these; see
[recording and replaying](recording.md).
"""

REPLAY = """
Has the options of "serving" and "log", and these.
"""

MOCK = """
Has the options of "log", and these; see [testing](testing.md#without-a-test). It is served by the native server; what is
under way when the command is stopped is broken off.
"""

INSPECT = """
Has the options of "log", and these; see [the inspector](inspector.md).
"""

DEMO = """\

## rolo demo

Has the options of "serving" and "log".
"""


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for section, found in settings(ProxyConfig):
        parts.append(f"\n## {_title(section)}\n")
        parts += _table(found)
    assert [_title(section) for section, _ in settings(CommandConfig)][1:] == ["serving", "log"]
    parts += ["\n## rolo record\n", RECORD, *_own(RecordConfig, ForwardingConfig)]
    parts += ["\n## rolo replay\n", REPLAY, *_own(ReplayConfig, CommandConfig)]
    parts += ["\n## rolo mock\n", MOCK, *_table(next(settings(MockConfig))[1])]
    parts += ["\n## rolo inspect\n", INSPECT, *_table(next(settings(InspectConfig))[1])]
    parts.append(DEMO)
    return "".join(parts)


def _table(found: list[Setting]) -> list[str]:
    head = "\n| option | setting | value | default | meaning |\n|---|---|---|---|---|\n"
    return [head, *(_row(setting) for setting in found)]


def _own(tree: type[Section], base: type[Section]) -> list[str]:
    """Return a table of the settings of ``tree`` that ``base`` has not."""
    known = {setting.key for _, found in settings(base) for setting in found}
    own = [each for _, found in settings(tree) for each in found if each.key not in known]
    return _table(own)


def _title(section: type[Section]) -> str:
    return "rolo proxy" if section is ProxyConfig else section.title


def _row(setting: Setting) -> str:
    names = [setting.option] if setting.short is None else [setting.short, setting.option]
    if setting.is_flag and setting.default is not False:
        names.append("--no-" + setting.option.removeprefix("--"))
    allowed = "" if setting.is_flag else setting.allowed
    default = setting.written_default or ("required" if setting.is_required else "-")
    cells = [
        ", ".join(f"`{name}`" for name in names),
        f"`{setting.key}`",
        allowed,
        default,
        setting.help,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
