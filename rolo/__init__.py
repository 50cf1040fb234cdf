"""Rolo: a toolkit for sync HTTP servers and for reverse and websocket proxies."""

from rolo import resource as _resource_module  # noqa: F401 - see below
from rolo._version import __version__
from rolo.request import Request
from rolo.response import Response
from rolo.routing.resource import Resource, resource
from rolo.routing.router import Router, route

# ``rolo.resource`` is a decorator and a module of the past. Loading the module first
# keeps a later ``import rolo.resource`` from putting the module in the decorator's place.

__all__ = ["Request", "Resource", "Response", "Router", "__version__", "resource", "route"]
