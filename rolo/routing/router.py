"""The router: finds the endpoint of a request and calls it."""

from __future__ import annotations

import functools
import logging
import threading
import typing as t
from collections.abc import Mapping

from werkzeug.routing import BaseConverter, Map, Rule, RuleFactory

from rolo.request import Request, get_raw_path
from rolo.routing.converter import PortConverter, RegexConverter
from rolo.routing.endpoints import RuleAttributes, attributes_of, mark
from rolo.routing.match import match, match_like_0_8
from rolo.routing.rules import RuleAdapter

if t.TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from rolo.response import Response

__all__ = [
    "HTTP_METHODS",
    "Dispatcher",
    "PortConverter",
    "RegexConverter",
    "RequestArguments",
    "Router",
    "RuleAdapter",
    "call_endpoint",
    "get_raw_path",
    "route",
]

LOG = logging.getLogger(__name__)

E = t.TypeVar("E")
E_contra = t.TypeVar("E_contra", contravariant=True)

RequestArguments = Mapping[str, t.Any]
"""The values of a rule's variables, by name."""

HTTP_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
"""For programs that add a route for each."""

_ANY_HOST = "__host__"


class Dispatcher(t.Protocol[E_contra]):
    """Calls the endpoint that a router found.

    A dispatcher may have a method ``prepare(endpoint, arguments)``; the router calls it
    with the names of a rule's variables when the rule is added.
    """

    def __call__(
        self, request: Request, endpoint: E_contra, args: RequestArguments
    ) -> Response: ...


class _RouteEndpoint(t.Protocol):
    """A function with what ``@route`` noted on it."""

    rule_attributes: list[RuleAttributes]

    def __call__(self, *args: t.Any, **kwargs: t.Any) -> t.Any: ...


def call_endpoint(
    request: Request,
    endpoint: t.Callable[[Request, RequestArguments], Response],
    args: RequestArguments,
) -> Response:
    """A dispatcher that calls ``endpoint(request, args)`` and returns what that returns."""
    return endpoint(request, args)


def route(
    path: str,
    host: str | None = None,
    methods: t.Iterable[str] | None = None,
    **kwargs: t.Any,
) -> t.Callable[[E], _RouteEndpoint]:
    """Note a rule on a function or method, for :meth:`Router.add` to find.

    Several may be stacked. The function stays as it is; a copy that calls it is returned.

    :param path: in the syntax of rules, ``/users/<int:user_id>``
    :param host: likewise; ``None`` is every host
    :param methods: ``None`` is every method; ``GET`` brings ``HEAD``
    :param kwargs: for :class:`werkzeug.routing.Rule`
    """

    def decorate(function: t.Any) -> t.Any:
        inner = function.__func__ if isinstance(function, staticmethod | classmethod) else function

        @functools.wraps(inner)
        def endpoint(*args: t.Any, **kw: t.Any) -> t.Any:
            return inner(*args, **kw)

        mark(endpoint, RuleAttributes(path, host, methods, kwargs))
        return type(function)(endpoint) if inner is not function else endpoint

    return decorate


class Router(t.Generic[E]):
    """Dispatches requests to endpoints by method, host and path.

    Rules are werkzeug's. Slashes are what they are: a trailing one may be there or not,
    double ones are not merged, and neither causes a redirect. A rule without a host
    matches every host.

    Routes are looked for on the decoded path, in which an encoded slash (``%2F``) stays
    encoded and so never separates segments. The values that endpoints get are those of
    the path as it came on the wire, not decoded.

    All methods may be called from any thread at any time.

    :param dispatcher: how endpoints are called; by default as their signature asks for,
        see :class:`~rolo.routing.dispatcher.SignatureDispatcher`
    :param converters: more converters for rule variables, by name
    :param like_0_8: match exactly as rolo 0.8.9 did, see docs/compatibility.md: redirect from a
        double slash to a single one where no rule has it, look for routes on the path as it
        came and not decoded, cut off what follows a semicolon in its last segment, let only
        valid host names match rules without a host, and let the first of ``HEAD`` and ``GET``
        win
    """

    default_converters: t.ClassVar[dict[str, type[BaseConverter]]] = {
        "regex": RegexConverter,
        "port": PortConverter,
    }

    url_map: Map
    dispatcher: Dispatcher[E]

    def __init__(
        self,
        dispatcher: Dispatcher[E] | None = None,
        converters: Mapping[str, type[BaseConverter]] | None = None,
        *,
        like_0_8: bool = False,
    ) -> None:
        self._like_0_8 = like_0_8
        self._match = match_like_0_8 if like_0_8 else match
        self.url_map = Map(
            host_matching=True,
            strict_slashes=False,
            merge_slashes=like_0_8,
            redirect_defaults=False,
            converters={**self.default_converters, **(converters or {})},
        )
        if dispatcher is None:
            from rolo.routing.dispatcher import SignatureDispatcher

            dispatcher = t.cast("Dispatcher[E]", SignatureDispatcher())
        self.dispatcher = dispatcher
        self._mutex = threading.RLock()
        self._rules: list[Rule] = []
        # Odd while the map is being changed; a match during a change is done again.
        self._generation = 0

    def add(self, *args: t.Any, **kwargs: t.Any) -> Rule | list[Rule]:
        """Add rules and return them, for :meth:`remove`.

        - ``add(path, endpoint, host=None, methods=None, **kwargs)`` adds and returns one;
          ``kwargs`` go to :class:`werkzeug.routing.Rule`
        - ``add(function)`` adds what ``@route`` noted on it
        - ``add(obj)`` adds the decorated members of an object, and its ``@resource`` methods
        - ``add(rule_factory)``, ``add([...])`` add all rules of a factory, of each

        All but the first return a list.

        :raises TypeError: nothing of these
        """
        if len(args) == 1 and not kwargs:
            return self.add_rule(RuleAdapter(args[0]))
        return self.add_rule(RuleAdapter(*args, **kwargs))[0]

    def add_rule(self, rule: RuleFactory) -> list[Rule]:
        """Add the rules of a factory (a rule is one) and return them."""
        with self._mutex:
            rules = list(rule.get_rules(self.url_map))
            for each in rules:
                if each.host is None:
                    each.host = f"<{_ANY_HOST}>"
                # Which requests are websockets is told by their method.
                each.websocket = False
            self._generation += 1
            try:
                for each in rules:
                    self.url_map.add(each)
                    self._rules.append(each)
                if not self._like_0_8 and _any_outranked(rules, self._rules):
                    self._rebuild(self._present())
            finally:
                self._generation += 1
        prepare = getattr(self.dispatcher, "prepare", None)
        if prepare is not None:
            for each in rules:
                prepare(each.endpoint, each.arguments)
        return rules

    def remove(self, rules: Rule | t.Iterable[Rule]) -> None:
        """Take back rules that :meth:`add` returned. They may be added again.

        :raises KeyError: one of them is not here; none is removed then
        """
        gone = [rules] if isinstance(rules, Rule) else list(rules)
        ids = {id(rule) for rule in gone}
        with self._mutex:
            present = self._present()
            kept = [rule for rule in present if id(rule) not in ids]
            if len(kept) + len(ids) != len(present):
                raise KeyError("no such rule")
            self._generation += 1
            try:
                self._rebuild(kept)
                for rule in gone:
                    rule.map = None  # type: ignore[assignment]
            finally:
                self._generation += 1

    def dispatch(self, request: Request) -> Response:
        """Call the endpoint of ``request`` and return its response.

        :raises HTTPException: no rule matches (404), not with this method (405), or the
            rule redirects; and whatever the endpoint raises
        """
        rule, args = self._find(request)
        if _ANY_HOST in args:
            args = {name: value for name, value in args.items() if name != _ANY_HOST}
        return self.dispatcher(request, t.cast("E", rule.endpoint), args)

    def route(
        self,
        path: str,
        host: str | None = None,
        methods: t.Iterable[str] | None = None,
        **kwargs: t.Any,
    ) -> t.Callable[[E], _RouteEndpoint]:
        """Decorate a function to be an endpoint of this router; parameters are those of
        :func:`route`."""

        def decorate(function: E) -> _RouteEndpoint:
            endpoint = route(path, host, methods, **kwargs)(function)
            noted = attributes_of(endpoint)[-1]
            self.add(noted.path, endpoint, noted.host, noted.methods, **noted.kwargs)
            return endpoint

        return decorate

    def wsgi(self) -> WSGIApplication:
        """Return a WSGI application of this router. HTTP exceptions become responses, any
        other error is logged and becomes a 500 that says nothing about it."""

        # Only here: it loads what serves requests, which most routers are served without.
        from rolo.routing.wsgi import application

        return application(self.dispatch)

    def _find(self, request: Request) -> tuple[Rule, Mapping[str, t.Any]]:
        """Match ``request`` without a lock; with it only if the map is being changed."""
        generation = self._generation
        if generation % 2 == 0:
            try:
                found = self._match(self.url_map, request)
            except Exception:
                if generation == self._generation:
                    raise
            else:
                if generation == self._generation:
                    return found
        with self._mutex:
            return self._match(self.url_map, request)

    def _present(self) -> list[Rule]:
        """Return the rules in the order in which they came, those last that somebody put
        into the map directly."""
        known = {id(rule) for rule in self._rules}
        return self._rules + [r for r in self.url_map.iter_rules() if id(r) not in known]

    def _rebuild(self, rules: list[Rule]) -> None:
        """Put a new map with ``rules`` in the place of the old one. Werkzeug has no way to
        take a rule out of a map or to put it before another."""
        old = self.url_map
        new = Map(
            default_subdomain=old.default_subdomain,
            strict_slashes=old.strict_slashes,
            merge_slashes=old.merge_slashes,
            redirect_defaults=old.redirect_defaults,
            converters=old.converters,
            sort_parameters=old.sort_parameters,
            sort_key=old.sort_key,
            host_matching=old.host_matching,
        )
        if not self._like_0_8:
            # The first rule that matches wins, and a GET rule takes HEAD too.
            rules = sorted(rules, key=lambda rule: not _is_head_only(rule))
        for rule in rules:
            rule.map = None  # type: ignore[assignment]
            new.add(rule)
        self._rules = rules
        self.url_map = new


def _is_head_only(rule: Rule) -> bool:
    return rule.methods is not None and "HEAD" in rule.methods and "GET" not in rule.methods


def _any_outranked(new: list[Rule], present: list[Rule]) -> bool:
    """Whether a new rule is for HEAD without GET where a GET rule may stand before it."""
    heads = {(rule.rule, rule.host) for rule in new if _is_head_only(rule)}
    return bool(heads) and any(
        (rule.rule, rule.host) in heads and rule.methods and "GET" in rule.methods
        for rule in present
    )
