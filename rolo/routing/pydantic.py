"""Endpoints with pydantic models for parameters and return values.

Pydantic is big, and a program without models need not have it loaded: as long as nobody
has imported it, no annotation can be a model.
"""

from __future__ import annotations

import inspect
import json
import sys
import typing as t
from collections.abc import Mapping

from werkzeug.exceptions import BadRequest

from rolo.request import Request, whole_body
from rolo.response import Response
from rolo.routing.handler import Handler, HandlerDispatcher, ResultValue
from rolo.routing.memo import Memo
from rolo.routing.router import RequestArguments

if t.TYPE_CHECKING:
    import pydantic

__all__ = [
    "Handler",
    "HandlerDispatcher",
    "PydanticHandlerDispatcher",
    "Request",
    "RequestArguments",
    "Response",
]


class PydanticHandlerDispatcher(HandlerDispatcher):
    """Fills parameters annotated with pydantic models from the JSON body.

    An annotation counts if a model is anywhere in it: ``Item``, ``Item | None``,
    ``list[Item]``. One such parameter takes the whole body; of several, each takes the
    member of its name. Without a body, a parameter keeps its default, or is ``None`` where
    that is allowed. The content type is not asked for. A body that does not fit, or is missing,
    is answered with 400 and pydantic's list of errors: ``type``, ``loc``, ``msg`` of each and
    what there is of ``ctx``, ``input`` and ``url``. One that is not JSON makes dispatching raise
    a :class:`~werkzeug.exceptions.BadRequest`, whose response says the same of it.

    Models that an endpoint returns, inside lists and dicts too, are written as JSON.
    """

    def __init__(self, json_encoder: type[json.JSONEncoder] | None = None) -> None:
        super().__init__(json_encoder)
        self._plans: Memo[_Plan] = Memo()

    def invoke_endpoint(
        self,
        request: Request,
        endpoint: t.Callable[..., t.Any],
        request_args: Mapping[str, t.Any],
    ) -> t.Any:
        plan = self._plans.get(endpoint)
        if plan is None:
            plan = _Plan(endpoint)
            self._plans.put(endpoint, plan)
        if not plan.parameters:
            return endpoint(request, **request_args)
        from pydantic import ValidationError

        try:
            models = plan.read(whole_body(request))
        except ValidationError as exc:
            return _described(exc)
        return endpoint(request, **{**request_args, **models})

    def populate_response(self, response: Response, value: ResultValue) -> None:
        if "pydantic" in sys.modules:
            value = _dump(value)
        super().populate_response(response, value)


class _Plan:
    """Which parameters of an endpoint the body fills, and how."""

    def __init__(self, endpoint: t.Any) -> None:
        self.parameters: dict[str, inspect.Parameter] = {}
        self._optional: set[str] = set()
        if "pydantic" not in sys.modules:
            return
        for parameter in _parameters(endpoint)[1:]:
            if _has_model(parameter.annotation):
                self.parameters[parameter.name] = parameter
        if self.parameters:
            self._adapter = self._make_adapter()

    def _make_adapter(self) -> pydantic.TypeAdapter[t.Any]:
        from pydantic import TypeAdapter, create_model

        if len(self.parameters) == 1:
            (parameter,) = self.parameters.values()
            return TypeAdapter(parameter.annotation)
        # The fields keep the order and the defaults of the parameters.
        fields: dict[str, t.Any] = {
            name: (p.annotation, ... if p.default is p.empty else p.default)
            for name, p in self.parameters.items()
        }
        return TypeAdapter(create_model("Body", **fields))

    def read(self, body: bytes) -> dict[str, t.Any]:
        """Return the arguments that ``body`` gives.

        :raises pydantic.ValidationError: it does not fit, or is missing
        :raises BadRequest: it is not JSON
        """
        if not body:
            missing = {
                name: None for name, p in self.parameters.items() if _takes_none(p.annotation)
            }
            if all(p.default is not p.empty or n in missing for n, p in self.parameters.items()):
                defaults = [n for n, p in self.parameters.items() if p.default is not p.empty]
                return {n: v for n, v in missing.items() if n not in defaults}
            self._adapter.validate_json(body)  # raises
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as exc:  # the latter: nested too deeply
            raise self._not_json(body, exc) from exc
        value = self._adapter.validate_python(document)
        if len(self.parameters) == 1:
            return dict.fromkeys(self.parameters, value)
        return {name: getattr(value, name) for name in self.parameters}

    def _not_json(self, body: bytes, error: Exception) -> BadRequest:
        """Return what werkzeug raises where a handler asks for ``request.json``."""
        from pydantic import ValidationError

        exc = BadRequest(f"Failed to decode JSON object: {error}")
        try:
            self._adapter.validate_json(body)
        except ValidationError as errors:
            exc.response = _described(errors)
        return exc


def _parameters(endpoint: t.Any) -> list[inspect.Parameter]:
    """Return the parameters with their annotations evaluated where that is possible."""
    try:
        return list(inspect.signature(endpoint, eval_str=True).parameters.values())
    except (NameError, SyntaxError, AttributeError, TypeError):
        pass
    try:
        return list(inspect.signature(endpoint).parameters.values())
    except (TypeError, ValueError):
        return []


def _has_model(annotation: t.Any) -> bool:
    if isinstance(annotation, type) and t.get_origin(annotation) is None:
        return _is_model(annotation)
    return any(_has_model(each) for each in t.get_args(annotation))


def _is_model(cls: type) -> bool:
    from pydantic import BaseModel
    from pydantic.dataclasses import is_pydantic_dataclass

    return issubclass(cls, BaseModel) or is_pydantic_dataclass(cls)


def _takes_none(annotation: t.Any) -> bool:
    return type(None) in t.get_args(annotation)


def _described(error: pydantic.ValidationError) -> Response:
    try:
        body = error.json()
    except ValueError:  # bytes that are not UTF-8 have no place in JSON
        body = error.json(include_input=False)
    return Response(body, status=400, mimetype="application/json")


def _dump(value: t.Any) -> t.Any:
    """Return ``value`` with every model in it as plain JSON values."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_dump(each) for each in value]
    if isinstance(value, dict):
        return {name: _dump(each) for name, each in value.items()}
    return value
