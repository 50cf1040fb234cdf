"""Rule factories for functions, objects and groups of them."""

from __future__ import annotations

import typing as t

from werkzeug.routing import Map, Rule, RuleFactory

from rolo.routing.endpoints import attributes_of, marked_members


class RuleAdapter(RuleFactory):
    """Makes rules of whatever :meth:`Router.add` takes.

    - ``RuleAdapter(path, endpoint, host=None, methods=None, **kwargs)``: one rule;
      ``kwargs`` go to :class:`werkzeug.routing.Rule`
    - ``RuleAdapter(function)``: the rules that ``@route`` noted on it
    - ``RuleAdapter(obj)``: the rules of its decorated members
    - ``RuleAdapter(factory)``, ``RuleAdapter([...])``: those of a rule factory, of each

    :raises TypeError: nothing of these
    """

    factory: RuleFactory

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        if len(args) == 1 and not kwargs:
            self.factory = _factory_for(args[0])
        else:
            self.factory = _EndpointRule(*args, **kwargs)

    def get_rules(self, map: Map) -> t.Iterable[Rule]:
        return self.factory.get_rules(map)


class RuleGroup(RuleFactory):
    """The rules of several factories."""

    def __init__(self, rules: t.Iterable[RuleFactory]) -> None:
        self.rules = rules

    def get_rules(self, map: Map) -> t.Iterable[Rule]:
        for factory in self.rules:
            yield from factory.get_rules(map)


class WithHost(RuleFactory):
    """The rules of several factories, all for one host (in the syntax of rules)."""

    def __init__(self, host: str, rules: t.Iterable[RuleFactory]) -> None:
        self.host = host
        self.rules = rules

    def get_rules(self, map: Map) -> t.Iterator[Rule]:
        for factory in self.rules:
            for rule in factory.get_rules(map):
                rule.host = self.host
                yield rule


class _EndpointRule(RuleFactory):
    def __init__(
        self,
        path: str,
        endpoint: t.Any,
        host: str | None = None,
        methods: t.Iterable[str] | None = None,
        **kwargs: t.Any,
    ) -> None:
        self.path = path
        self.endpoint = endpoint
        self.host = host
        self.methods = methods
        self.kwargs = kwargs

    def get_rules(self, map: Map) -> t.Iterable[Rule]:
        yield Rule(
            self.path,
            endpoint=self.endpoint,
            host=self.host,
            methods=self.methods,
            **self.kwargs,
        )


class _MarkedFunction(RuleFactory):
    def __init__(self, endpoint: t.Any) -> None:
        self.endpoint = endpoint

    def get_rules(self, map: Map) -> t.Iterable[Rule]:
        for attributes in attributes_of(self.endpoint):
            yield Rule(
                attributes.path,
                endpoint=self.endpoint,
                host=attributes.host,
                methods=attributes.methods,
                **attributes.kwargs,
            )


class _MarkedObject(RuleFactory):
    def __init__(self, obj: object) -> None:
        self.obj = obj

    def get_rules(self, map: Map) -> t.Iterable[Rule]:
        # A class decorated with ``@resource`` notes what makes the rules of an instance.
        for make_rules in getattr(type(self.obj), "resource_factories", ()):
            yield from make_rules(self.obj).get_rules(map)
        for member in marked_members(self.obj):
            yield from _MarkedFunction(member).get_rules(map)


def _factory_for(source: t.Any) -> RuleFactory:
    if isinstance(source, RuleFactory):
        return source
    if isinstance(source, str):
        raise TypeError(f"no endpoint given for {source!r}")
    if isinstance(source, type):
        raise TypeError(
            f"routes are those of an instance: {source.__name__}() instead of the class"
        )
    if isinstance(source, list | tuple | set | t.Iterator):
        return RuleGroup([RuleAdapter(each) for each in source])
    if attributes_of(source):
        return _MarkedFunction(source)
    if callable(source) and hasattr(source, "__name__"):
        raise TypeError(f"{source!r} has no @route, give a path")
    return _MarkedObject(source)
