"""The default dispatcher, which reads from an endpoint's signature how to call it."""

from __future__ import annotations

import inspect
import types
import typing as t
from collections.abc import Iterable, Mapping

from rolo.request import Request
from rolo.routing.handler import handler_dispatcher
from rolo.routing.memo import Memo

if t.TYPE_CHECKING:
    from rolo.response import Response


class SignatureDispatcher:
    """Calls endpoints of either style.

    - ``endpoint(request, args)``, with the rule's variables in a dict; what it returns is
      the response;
    - ``endpoint(request, name, ...)``, as :func:`~rolo.routing.handler.handler_dispatcher`
      calls them, with variables, models and return values turned into what they should be.

    The second style is taken if the function could not be called in the first, if its
    second parameter is named like a variable of one of its rules, or if that parameter is
    annotated as something that is not a mapping. The signature is read when the route is
    added.
    """

    def __init__(self) -> None:
        self._handlers = handler_dispatcher()
        self._by_name: Memo[bool] = Memo()

    def prepare(self, endpoint: t.Any, arguments: Iterable[str]) -> None:
        """Decide how to call ``endpoint``, which a rule with these variables leads to."""
        # One function may have several rules, and a variable only in some of them.
        if not self._by_name.get(endpoint):
            self._by_name.put(endpoint, takes_names(endpoint, arguments))

    def __call__(
        self, request: Request, endpoint: t.Callable[..., t.Any], args: Mapping[str, t.Any]
    ) -> Response:
        by_name = self._by_name.get(endpoint)
        if by_name is None:
            by_name = takes_names(endpoint, args)
            self._by_name.put(endpoint, by_name)
        if by_name:
            return self._handlers(request, endpoint, args)
        return t.cast("Response", endpoint(request, args))


def takes_names(endpoint: t.Any, arguments: Iterable[str]) -> bool:
    """Whether ``endpoint`` is to be called ``endpoint(request, **args)`` rather than
    ``endpoint(request, args)``."""
    try:
        parameters = list(inspect.signature(endpoint).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) and len(positional) < 2:
        return False
    required = [p for p in parameters if p.default is p.empty]
    keywords_needed = any(p.kind is p.KEYWORD_ONLY for p in required)
    if len(positional) < 2 or keywords_needed or sum(p in required for p in positional) > 2:
        return True
    second = positional[1]
    annotation = _annotation(endpoint, second)
    if annotation is not second.empty:
        return not _may_be_mapping(annotation)
    return second.name in set(arguments) - {"args"}


def _annotation(endpoint: t.Any, parameter: inspect.Parameter) -> t.Any:
    """Return what ``parameter`` is annotated with; ``empty`` if a name in it is unknown."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    function = inspect.unwrap(endpoint)
    function = getattr(function, "__func__", function)
    if not hasattr(function, "__globals__"):
        function = getattr(type(function), "__call__", function)  # noqa: B004 - not a test
    try:
        return t.get_type_hints(function).get(parameter.name, parameter.empty)
    except Exception:  # noqa: BLE001 - annotations may be anything
        return parameter.empty


def _may_be_mapping(annotation: t.Any) -> bool:
    origin = t.get_origin(annotation)
    if origin is t.Annotated:
        return _may_be_mapping(t.get_args(annotation)[0])
    if origin in (t.Union, types.UnionType):
        return any(
            _may_be_mapping(each) for each in t.get_args(annotation) if each is not type(None)
        )
    kind = origin or annotation
    if kind in (t.Any, object):
        return True
    return isinstance(kind, type) and issubclass(kind, Mapping)
