"""The inspector: see the traffic, live, in a browser."""

from __future__ import annotations

from rolo.inspector.inspector import Inspector, InspectorPage

__all__ = ["Inspector", "InspectorPage"]
