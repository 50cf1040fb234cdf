"""Dispatching to functions that take a rule's variables as parameters."""

from __future__ import annotations

import importlib.util
import json
import typing as t
from collections.abc import Mapping

from werkzeug.wrappers import Response as WerkzeugResponse

from rolo.request import Request
from rolo.response import Response
from rolo.routing.router import Dispatcher, RequestArguments

__all__ = [
    "ENABLE_PYDANTIC",
    "Dispatcher",
    "Handler",
    "HandlerDispatcher",
    "Request",
    "Response",
    "ResultValue",
    "handler_dispatcher",
]

ENABLE_PYDANTIC: bool = importlib.util.find_spec("pydantic") is not None
"""Whether new dispatchers know pydantic models."""

ResultValue = t.Union[  # noqa: UP007 - read by programs as a typing construct
    WerkzeugResponse, str, bytes, dict[str, t.Any], list[t.Any], None
]


class Handler(t.Protocol):
    """An endpoint with the rule's variables as parameters."""

    def __call__(self, request: Request, **kwargs: t.Any) -> ResultValue: ...


class _JsonEncoder(json.JSONEncoder):
    def default(self, o: t.Any) -> t.Any:
        if isinstance(o, bytes | bytearray):
            return o.decode("utf-8", "replace")
        return super().default(o)


class HandlerDispatcher:
    """Calls ``endpoint(request, **args)`` and makes a response of what it returns.

    :param json_encoder: writes dicts and lists; ``None`` is the standard encoder, with
        bytes (a query string, say) written as the text they are in UTF-8
    """

    def __init__(self, json_encoder: type[json.JSONEncoder] | None = None) -> None:
        self.json_encoder = json_encoder

    def __call__(
        self, request: Request, endpoint: t.Callable[..., t.Any], request_args: RequestArguments
    ) -> Response:
        return self.to_response(self.invoke_endpoint(request, endpoint, request_args))

    def invoke_endpoint(
        self,
        request: Request,
        endpoint: t.Callable[..., t.Any],
        request_args: Mapping[str, t.Any],
    ) -> t.Any:
        """Call the endpoint and return what it returns."""
        return endpoint(request, **request_args)

    def to_response(self, value: ResultValue) -> Response:
        """Return ``value`` if it is a response, else a new response with it as the body.

        :raises ValueError: see :meth:`populate_response`
        """
        if isinstance(value, WerkzeugResponse):
            return t.cast("Response", value)
        response = Response()
        if value is not None:
            self.populate_response(response, value)
        return response

    def populate_response(self, response: Response, value: ResultValue) -> None:
        """Put ``value`` into ``response``: text and bytes as they are, a dict, list or
        tuple as JSON.

        :raises ValueError: it is something else
        """
        if isinstance(value, str | bytes | bytearray):
            response.data = value
        elif isinstance(value, dict | list | tuple):
            response.set_json(value, cls=self.json_encoder or _JsonEncoder)
        else:
            raise ValueError(f"unhandled result type {type(value)}")


def handler_dispatcher(
    json_encoder: type[json.JSONEncoder] | None = None,
) -> Dispatcher[Handler]:
    """Return a dispatcher for functions that take a rule's variables as parameters, with
    pydantic models filled from the JSON body unless :data:`ENABLE_PYDANTIC` is false."""
    if ENABLE_PYDANTIC:
        from rolo.routing.pydantic import PydanticHandlerDispatcher

        return t.cast("Dispatcher[Handler]", PydanticHandlerDispatcher(json_encoder))
    return t.cast("Dispatcher[Handler]", HandlerDispatcher(json_encoder))
