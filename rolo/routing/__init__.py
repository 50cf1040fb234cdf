"""Routing on werkzeug's URL map, dispatching straight to functions."""

from rolo.routing.converter import PortConverter, RegexConverter
from rolo.routing.handler import handler_dispatcher
from rolo.routing.router import RequestArguments, Router, route
from rolo.routing.rules import RuleAdapter, RuleGroup, WithHost

__all__ = [
    "PortConverter",
    "RegexConverter",
    "RequestArguments",
    "Router",
    "RuleAdapter",
    "RuleGroup",
    "WithHost",
    "handler_dispatcher",
    "route",
]
