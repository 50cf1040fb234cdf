"""Objects whose ``on_get``, ``on_post``, ... methods answer the methods of one path."""

from __future__ import annotations

import typing as t

from werkzeug.routing import Map, Rule, RuleFactory

from rolo.routing.router import route

__all__ = ["Resource", "resource", "route"]

# HEAD comes before GET, whose rule would take its requests.
_METHODS = (
    "head",
    "get",
    "post",
    "put",
    "delete",
    "patch",
    "options",
    "trace",
    "connect",
    "websocket",
)

C = t.TypeVar("C", bound=type)


class Resource(RuleFactory):
    """One rule for each ``on_<method>`` of an object.

    :param path: in the syntax of rules
    :param obj: has methods ``on_get``, ``on_head``, ``on_post``, ``on_websocket``, ...
    :param host: in the syntax of rules; ``None`` is every host
    :param kwargs: for each :class:`werkzeug.routing.Rule`
    """

    def __init__(self, path: str, obj: t.Any, host: str | None = None, **kwargs: t.Any) -> None:
        self.path = path
        self.obj = obj
        self.host = host
        self.kwargs = kwargs

    def get_rules(self, map: Map) -> t.Iterable[Rule]:
        for method in _METHODS:
            endpoint = getattr(self.obj, f"on_{method}", None)
            if callable(endpoint):
                yield Rule(
                    self.path, endpoint=endpoint, host=self.host, methods=[method], **self.kwargs
                )


def resource(path: str, host: str | None = None, **kwargs: t.Any) -> t.Callable[[C], C]:
    """Decorate a class so that adding an instance to a router adds it as a
    :class:`Resource`, besides its members decorated with ``@route``."""

    def decorate(cls: C) -> C:
        def make(obj: t.Any) -> Resource:
            return Resource(path, obj, host, **kwargs)

        inherited = getattr(cls, "resource_factories", ())
        cls.resource_factories = (make, *inherited)  # type: ignore[attr-defined]
        return cls

    return decorate
