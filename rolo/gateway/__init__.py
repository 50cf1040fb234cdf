"""The gateway: chains of handlers that decide what becomes of a request."""

from rolo.gateway.chain import (
    CompositeExceptionHandler,
    CompositeFinalizer,
    CompositeHandler,
    CompositeResponseHandler,
    ExceptionHandler,
    Handler,
    HandlerChain,
    RequestContext,
)
from rolo.gateway.gateway import Gateway

__all__ = [
    "CompositeExceptionHandler",
    "CompositeFinalizer",
    "CompositeHandler",
    "CompositeResponseHandler",
    "ExceptionHandler",
    "Gateway",
    "Handler",
    "HandlerChain",
    "RequestContext",
]
