"""Which hooks run in which phase, and in which order."""

from __future__ import annotations

import dataclasses
import typing as t

from rolo.proxy.hooks.checks import check_hooks
from rolo.proxy.hooks.hooks import PHASES, HookFunctions, Hooks
from rolo.proxy.hooks.life import Life, has_life
from rolo.proxy.hooks.transform import name_of, wants_parts

# What comes from the client passes the hooks downwards, all else upwards.
_DOWNWARDS = frozenset(
    {"on_request", "on_outgoing", "on_request_chunk", "on_handshake", "on_client_message"}
)
_OF_WEBSOCKETS = frozenset(
    {"on_handshake", "on_accepted", "on_client_message", "on_upstream_message", "on_closed"}
)


@dataclasses.dataclass(slots=True, eq=False)
class Hook:
    """One function to call in a phase."""

    label: str
    """For the log: phase and owner."""
    call: t.Callable[..., t.Any]


class Phases(dict[str, tuple[Hook, ...]]):
    """The hooks of one proxy by phase, found once.

    The list reads from the client to the upstream: request phases go through it in order,
    all others in reverse, so that a hook sees of both ways what its neighbours on either
    side see.
    """

    # What is looked at for each exchange: as an item it costs ten times as much.
    on_request: tuple[Hook, ...]
    on_connect_failed: tuple[Hook, ...]
    on_interim: tuple[Hook, ...]
    on_response: tuple[Hook, ...]

    def __init__(self, hooks: t.Sequence[Hooks]) -> None:
        """:raises HookMistake: one of them can never be called"""
        for each in hooks:
            check_hooks(each)
            each._in_use = True
        super().__init__((name, _ordered(hooks, name)) for name in PHASES)
        self.on_request = self["on_request"]
        self.on_connect_failed = self["on_connect_failed"]
        self.on_interim = self["on_interim"]
        self.on_response = self["on_response"]
        self.see_body = bool(self["on_response_chunk"] or self["on_event"])
        """Any answer's body may be transformed."""
        self.see_parts = all(
            wants_parts(hook.call) for hook in self["on_response_chunk"] + self["on_event"]
        )
        """What sees bodies takes parts of them (206) as well."""
        edits = self["on_outgoing"] or self["on_request_chunk"] or self.see_body
        self.edit_request = bool(edits)
        """What goes out may be another request than what came in."""
        self.prepare_request = bool(edits or self["on_finished"])
        """There is something to do to every request before it is sent."""
        self.life = Life(hooks) if any(has_life(each) for each in hooks) else None
        """What starts and closes the hooks; ``None`` if none of them cares."""
        self.see_http = self.life is not None or any(
            self[name] for name in PHASES if name not in _OF_WEBSOCKETS
        )
        """Exchanges that are no websockets are of interest."""
        self.watch_end = bool(self["on_finished"] or self.life)
        """The end of an exchange is of interest."""
        self.watch_body = bool(self.watch_end or self["on_trailers"])
        """The end of an answer's body is of interest."""

    def __bool__(self) -> bool:
        return any(self.values()) or self.life is not None


def _ordered(hooks: t.Sequence[Hooks], phase: str) -> tuple[Hook, ...]:
    found = [
        Hook(f"{phase} of {_owner(each, used)}", getattr(each, used))
        for each in hooks
        if (used := _used(each, phase)) is not None
    ]
    return tuple(found if phase in _DOWNWARDS else reversed(found))


def _used(hooks: Hooks, phase: str) -> str | None:
    """Return the phase of ``hooks`` that is called in ``phase``, if any."""
    if _overrides(hooks, phase):
        return phase
    if phase == "on_handshake" and _overrides(hooks, "on_outgoing"):
        # Every head that goes upstream is seen by whoever looks at heads that do.
        return "on_outgoing"
    return None


def _overrides(hooks: Hooks, phase: str) -> bool:
    return phase in vars(hooks) or getattr(type(hooks), phase) is not getattr(Hooks, phase)


def _owner(hooks: Hooks, phase: str) -> str:
    if isinstance(hooks, HookFunctions):
        return name_of(vars(hooks)[phase])
    return type(hooks).__qualname__
