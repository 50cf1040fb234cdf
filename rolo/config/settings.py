"""The settings of a tree one by one, for whoever offers, explains or fills them."""

from __future__ import annotations

import dataclasses
import types
import typing as t

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from rolo.config.tree import Clash, Option, Section
from rolo.config.values import NONE, Kind

TreeT = t.TypeVar("TreeT", bound=Section)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One leaf of a tree."""

    key: str
    """Its name in the tree: ``timeouts.idle``."""
    option: str
    """Its long name on the command line, ``--idle-timeout``; of what is required, the word
    that stands for it there."""
    short: str | None
    """Its short name, ``-q``."""
    help: str
    default: object
    kind: Kind | None
    """How its values are written; ``None`` of flags and choices."""
    choices: tuple[str, ...]
    is_flag: bool
    may_be_none: bool
    is_required: bool

    @property
    def written_default(self) -> str:
        """The default as text; empty where there is nothing to say."""
        if self.kind is not None:
            return "" if self.is_required else self.kind.written(self.default)
        if self.is_flag:
            return "yes" if self.default else "no" if self.default is False else ""
        return str(self.default)

    @property
    def allowed(self) -> str:
        """What a value of it must be."""
        if self.kind is not None:
            may_be_none = self.may_be_none and self.kind.has_none
            return f"{self.kind.allowed}, or {NONE}" if may_be_none else self.kind.allowed
        return "yes or no" if self.is_flag else f"one of {', '.join(self.choices)}"


class Mistake(t.NamedTuple):
    """Something wrong with values. ``text`` has ``{}`` for the name of each of ``keys``, which
    somebody on the command line and somebody with a file call by other names."""

    text: str
    keys: tuple[str, ...]


class Mistakes(ValueError):
    """All that is wrong with what a tree was to be filled with."""

    def __init__(self, mistakes: t.Sequence[Mistake]) -> None:
        super().__init__("; ".join(text.format(*keys) for text, keys in mistakes))
        self.mistakes = tuple(mistakes)


def settings(tree: type[Section]) -> t.Iterator[tuple[type[Section], list[Setting]]]:
    """Yield the settings of ``tree`` by section; first those that are in none."""
    sections = sections_of(tree)
    alone = [name for name in tree.model_fields if name not in sections]
    yield tree, [_setting(name, name, tree.model_fields[name]) for name in alone]
    for name, section in sections.items():
        fields = section.model_fields.items()
        yield section, [_setting(f"{name}.{inner}", inner, field) for inner, field in fields]


def sections_of(tree: type[Section]) -> dict[str, type[Section]]:
    """Return the sections of ``tree`` by name."""
    return {
        name: field.annotation
        for name, field in tree.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def fill(tree: type[TreeT], values: t.Mapping[str, object]) -> TreeT:
    """Return a tree with ``values``, by key; what is left out has its default.

    :raises Mistakes: some of them are not allowed
    """
    # With all sections, so that pydantic has to build the validator of the whole tree only.
    nested: dict[str, t.Any] = {name: {} for name in sections_of(tree)}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[name] = value
    try:
        return tree.model_validate(nested)
    except ValidationError as error:
        known = {s.key: s for _, found in settings(tree) for s in found}
        raise Mistakes([_mistake(each, known, values) for each in error.errors()]) from None


def _mistake(
    error: t.Any, known: t.Mapping[str, Setting], values: t.Mapping[str, object]
) -> Mistake:
    cause = error.get("ctx", {}).get("error")
    path = error["loc"]
    if isinstance(cause, Clash):
        return Mistake(cause.text, tuple(".".join([*path, name]) for name in cause.names))
    key = ".".join(map(str, path))
    said = str(cause or "")
    if not said:
        setting = known.get(key)
        said = f"not {setting.allowed}: {values.get(key)!r}" if setting else error["msg"]
    return Mistake("{}: " + said.replace("{", "{{").replace("}", "}}"), (key,))


def _setting(key: str, name: str, field: FieldInfo) -> Setting:
    option = next((m for m in field.metadata if isinstance(m, Option)), Option(name))
    kind = next((m for m in field.metadata if isinstance(m, Kind)), None)
    origin, arguments = t.get_origin(field.annotation), t.get_args(field.annotation)
    members = arguments if origin in (t.Union, types.UnionType) else (field.annotation,)
    required = field.is_required()
    return Setting(
        key=key,
        option=name.upper() if required else "--" + option.name.replace("_", "-"),
        short=option.short,
        help=field.description or "",
        default=None if required else field.default,
        kind=kind,
        choices=arguments if origin is t.Literal else (),
        is_flag=bool in members,
        may_be_none=type(None) in members,
        is_required=required,
    )
