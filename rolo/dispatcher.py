"""The path that 0.8 had for :func:`rolo.routing.handler.handler_dispatcher`."""

from rolo.routing.handler import ResultValue, handler_dispatcher

__all__ = ["ResultValue", "handler_dispatcher"]
