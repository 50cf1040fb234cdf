"""What goes wrong while traffic is rewritten."""

from __future__ import annotations

from rolo.errors import BadResponse, RoloError


class HookError(RoloError):
    """A hook raised something. ``phase`` is the hook's name, ``__cause__`` what it raised;
    it is logged with its traceback where it happens, and answered with 500."""

    phase = "hook"


class BodyTooLarge(RoloError):
    """A body that is needed whole is longer than the bound given."""

    phase = "whole body"
    status = 502


class UndecodableBody(BadResponse):
    """A body is not in the coding it claims, or expands beyond all reason."""

    phase = "content coding"


class UnknownCoding(RoloError):
    """A body has a content coding that cannot be decoded here."""

    phase = "content coding"
    status = 502
