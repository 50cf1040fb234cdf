"""The path that 0.8 had for :mod:`rolo.routing`."""

from rolo.routing import (
    PortConverter,
    RegexConverter,
    RequestArguments,
    Router,
    RuleAdapter,
    RuleGroup,
    WithHost,
    route,
)

__all__ = [
    "PortConverter",
    "RegexConverter",
    "RequestArguments",
    "Router",
    "RuleAdapter",
    "RuleGroup",
    "WithHost",
    "route",
]
