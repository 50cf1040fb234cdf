"""Stubs from WireMock's JSON mappings: what of the format is read, and what it means here.

A file holds one mapping, a list of them, or ``{"mappings": [...]}``. Whatever is not read is a
mistake, since a stub that silently does something else is worse than none.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import os
import pathlib
import re
import typing as t
from urllib.parse import unquote

from rolo import faults
from rolo.harness.actions import Action, Streaming
from rolo.harness.delays import Delay, between, checked, lognormal
from rolo.harness.steps import Step, pause, some
from rolo.harness.values import action_of, raw_fields, stream_head
from rolo.harness.wiremock_values import Object, Place, decoded, matcher_of, pattern_of
from rolo.matching import Matcher, RequestPattern, Seen
from rolo.matching.differences import Difference, described, inside
from rolo.matching.matchers import differences
from rolo.matching.seen import WEBSOCKET
from rolo.response import Response
from rolo.wire.target import parse_upstream

if t.TYPE_CHECKING:
    from rolo.harness.stub import Stub

_PRIORITY = 5
"""Of mappings that do not say theirs; 1 is asked first."""
STARTED = "Started"
"""The state in which scenarios begin."""
_NOTES = ("id", "uuid", "name", "persistent", "metadata", "comment", "$schema")
"""Keys of a mapping that change nothing."""
_BODIES = ("body", "jsonBody", "base64Body", "bodyFileName")
_FAULTS: dict[str, t.Callable[[], faults.Fault]] = {
    "EMPTY_RESPONSE": faults.empty,
    "CONNECTION_RESET_BY_PEER": faults.reset,
    "MALFORMED_RESPONSE_CHUNK": faults.bad_chunk,
    "RANDOM_DATA_THEN_CLOSE": faults.garbage,
}


class MappingError(ValueError):
    """Mappings that cannot be read. The message says all that is wrong, with file and place."""

    def __init__(self, mistakes: t.Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = list(mistakes)
        """One by one."""


# --- the request ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Url:
    """What a request's target must be.

    :param text: as it is written in the mapping
    :param wanted: the text itself, or a regular expression for all of it
    :param whole: with the query
    :param variables: what groups of the expression must be like, decoded
    """

    text: str
    wanted: str | re.Pattern[str]
    whole: bool
    variables: t.Mapping[str, Matcher]

    def differences(self, seen: Seen) -> t.Iterator[Difference]:
        got = seen.target if self.whole else seen.raw_path
        if isinstance(self.wanted, str):
            if got != self.wanted:
                yield Difference("path", self.text, got)
            return
        match = self.wanted.fullmatch(got)
        if match is None:
            yield Difference("path", self.text, got)
            return
        for name, wanted in self.variables.items():
            yield from differences(wanted, unquote(match[name]), inside("path", name))

    @property
    def path(self) -> str | None:
        """Where an index finds it: its path, if there is only one."""
        if not isinstance(self.wanted, str) or "<" in self.wanted:
            return None
        return self.wanted.partition("?")[0]


class MappingPattern(RequestPattern):
    """What a request must look like by a mapping: paths are compared as they are on the wire,
    ``GET`` does not bring ``HEAD``, and the mapping's priority decides who is asked first, after
    stubs that are no mappings."""

    precedence = "the one of lowest priority answers; of equals, the last"

    def __init__(self, method: str, url: _Url | None, priority: int, **conditions: t.Any) -> None:
        path = None if url is None else url.path
        super().__init__(None if method == "ANY" else method, path, **conditions)
        self._url = url
        self._priority = priority

    @functools.cached_property
    def rank(self) -> tuple[int, ...]:
        return (-self._priority,)

    @property
    def where(self) -> str:
        return "" if self._url is None else self._url.text

    def _takes_method(self, method: str) -> bool:
        return method != WEBSOCKET if self.methods is None else method in self.methods

    def _path_differences(self, seen: Seen) -> t.Iterator[Difference]:
        yield from ()  # they are among the others: the router's rule only finds candidates

    def _differences(self, seen: Seen) -> t.Iterator[Difference]:
        if self._url is not None:
            yield from self._url.differences(seen)
        yield from super()._differences(seen)


def _pattern(given: Object, priority: int) -> MappingPattern:
    place = given.place
    method = (given.take("method", str, "ANY") or "ANY").upper()
    url = _url(given)
    conditions: dict[str, t.Any] = {
        ours: found
        for ours, theirs in (
            ("query", "queryParameters"),
            ("headers", "headers"),
            ("cookies", "cookies"),
            ("form", "formParameters"),
        )
        if (found := _named(given, theirs))
    }
    key = given.one_of("basicAuth", "basicAuthCredentials")
    if key is not None:
        fields = conditions.setdefault("headers", {})
        for name in [name for name in fields if name.lower() == "authorization"]:
            del fields[name]
            place.mistake(f"{key} and headers.{name} exclude each other")
        fields["Authorization"] = _basic(Object(given.take_any(key), place.at(key)))
    where = place.at("bodyPatterns")
    patterns = given.take("bodyPatterns", list, []) or []
    body = [matcher_of(each, where.at(n), body=True) for n, each in enumerate(patterns)]
    if body:
        conditions["body"] = functools.reduce(lambda one, other: one & other, body)
    given.end()
    return MappingPattern(method, url, priority, **conditions)


def _named(given: Object, key: str) -> dict[str, Matcher]:
    place = given.place.at(key)
    values = given.take(key, dict, {}) or {}
    return {name: matcher_of(value, place.at(name)) for name, value in values.items()}


def _url(given: Object) -> _Url | None:
    key = given.one_of("url", "urlPath", "urlPattern", "urlPathPattern", "urlPathTemplate")
    variables = _named(given, "pathParameters")
    if variables and key != "urlPathTemplate":
        given.place.mistake("pathParameters needs urlPathTemplate")
        variables = {}
    if key is None:
        return None
    place = given.place.at(key)
    text = given.take(key, str, "/") or ""
    wanted: str | re.Pattern[str] = text
    if key in ("urlPattern", "urlPathPattern"):
        wanted = pattern_of(text, place)
    elif not text.startswith("/"):
        place.mistake(f"a path begins with a slash: {text!r}")
        wanted = "/"
    elif key == "urlPathTemplate":
        wanted = _template(text, place)
        for name in [name for name in variables if name not in wanted.groupindex]:
            del variables[name]
            given.place.at("pathParameters").at(name).mistake(f"it is not in {text}")
    return _Url(text, wanted, key in ("url", "urlPattern"), variables)


def _template(text: str, place: Place) -> re.Pattern[str]:
    parts = re.split(r"\{([A-Za-z_]\w*)\}", text)
    found = [re.escape(part) for part in parts]
    found[1::2] = [f"(?P<{name}>[^/]+)" for name in parts[1::2]]
    if "{" in "".join(parts[::2]) or len(set(parts[1::2])) < len(parts[1::2]):
        place.mistake(f"in {text!r}, variables are written {{name}}, each once")
        return re.compile("")
    return re.compile("".join(found))


def _basic(given: Object) -> Matcher:
    user, password = given.take("username", str, ""), given.take("password", str, "")
    given.end()
    secret = base64.b64encode(f"{user}:{password}".encode()).decode()
    return matcher_of({"matches": f"(?i:basic) {re.escape(secret)}"}, given.place)


# --- the response ---------------------------------------------------------------------------


@dataclasses.dataclass
class _Answer:
    """What is done with a request."""

    action: Action | None = None
    upstream: str | None = None
    """It goes there, if there is no action."""
    delay: Delay = 0.0
    fault: faults.Fault | None = None


def _answer(given: Object, files: pathlib.Path) -> _Answer:
    delay = _delay(given)
    if "proxyBaseUrl" in given:
        upstream = given.take("proxyBaseUrl", str, "http://localhost") or ""
        try:
            parse_upstream(upstream)
        except ValueError as exc:
            given.place.at("proxyBaseUrl").mistake(exc)
        given.end()
        return _Answer(upstream=upstream, delay=delay)
    fault = given.take("fault", str)
    if fault is not None and fault not in _FAULTS:
        given.place.at("fault").mistake(f"one of {', '.join(_FAULTS)}, not {fault!r}")
        fault = None
    action = _action(given, files)
    given.end()
    return _Answer(action, delay=delay, fault=None if fault is None else _FAULTS[fault]())


def _action(given: Object, files: pathlib.Path) -> Action | None:
    status = given.take("status", int, 200) or 0
    reason = given.take("statusMessage", str)
    headers = _headers(given)
    body, file = _body(given, files)
    steps = _dribble(given, body if file is None else file)
    arguments: dict[str, t.Any] = {"status": status, "headers": headers}
    if reason is not None:
        arguments["reason"] = reason
    try:
        if steps is not None:
            head = stream_head(steps, t.cast(t.Any, arguments))
            head.headers = raw_fields(headers)
            return Streaming(head, steps)
        if file is not None:
            return action_of((), t.cast(t.Any, {**arguments, "file": file}))
        # As a response, it has no more fields than the mapping says.
        response = Response(body, status=status)
        del response.headers["Content-Type"]
        return action_of((response,), t.cast(t.Any, arguments))
    except (ValueError, TypeError, OSError) as exc:
        given.place.mistake(exc)
        return None


def _headers(given: Object) -> list[tuple[str, str]]:
    """Return the fields of the answer, but for those that frame its body: they are written to
    fit what is sent."""
    place = given.place.at("headers")
    found = []
    for name, value in (given.take("headers", dict, {}) or {}).items():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str | int | float) for each in values):
            place.at(name).mistake(f"text, or a list of it, not {described(value)}")
        elif name.lower() not in ("content-length", "transfer-encoding"):
            found += [(name, str(each)) for each in values]
    return found


def _body(given: Object, files: pathlib.Path) -> tuple[bytes, pathlib.Path | None]:
    """Return the body, or the file that holds it."""
    key = given.one_of(*_BODIES)
    if key is None:
        return b"", None
    place = given.place.at(key)
    if key == "jsonBody":
        value = given.take_any(key)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), None
    text = given.take(key, str, "") or ""
    if key == "base64Body":
        return decoded(text, place), None
    if key == "body":
        return text.encode(), None
    file = files / text
    if not file.resolve().is_relative_to(files.resolve()):
        place.mistake(f"{text!r} is not within {files}")
    elif not file.is_file():
        place.mistake(f"there is no file {file}")
    else:
        return b"", file
    return b"", None


def _dribble(given: Object, body: bytes | pathlib.Path) -> list[Step] | None:
    """Return the steps in which the body is sent, if it is in several."""
    value = given.take("chunkedDribbleDelay", dict)
    if value is None:
        return None
    inner = Object(value, given.place.at("chunkedDribbleDelay"))
    count = inner.take("numberOfChunks", int, 1) or 0
    seconds = (inner.take("totalDuration", float, 0) or 0) / 1000
    inner.end()
    if count < 1 or seconds < 0:
        inner.place.mistake("numberOfChunks is 1 or more, totalDuration 0 or more")
        return None
    data = body if isinstance(body, bytes) else body.read_bytes()
    steps: list[Step] = []
    for number in range(count):
        piece = data[len(data) * number // count : len(data) * (number + 1) // count]
        if number:
            steps.append(pause(seconds / count))
        if piece:
            steps.append(some(piece))
    return steps


def _delay(given: Object) -> Delay:
    key = given.one_of("fixedDelayMilliseconds", "delayDistribution")
    place = given.place.at(key or "")
    try:
        if key == "fixedDelayMilliseconds":
            return checked((given.take(key, float, 0) or 0) / 1000)
        if key == "delayDistribution":
            return _distribution(Object(given.take_any(key), place))
    except ValueError as exc:
        place.mistake(exc)
    return 0.0


def _distribution(given: Object) -> Delay:
    kind = given.take("type", str)
    names: dict[str | None, tuple[str, ...]] = {
        "lognormal": ("median", "sigma"),
        "uniform": ("lower", "upper"),
        "fixed": ("milliseconds",),
    }
    if kind not in names:
        given.place.mistake(f"its type is lognormal, uniform or fixed, not {kind}")
        return 0.0
    values = [given.take(name, float) for name in names[kind]]
    given.end()
    if None in values:
        given.place.mistake(f"{kind} needs {' and '.join(names[kind])}")
        return 0.0
    first, *more = t.cast("list[float]", values)
    if kind == "lognormal":
        return lognormal(first / 1000, more[0])
    if kind == "uniform":
        return between(first / 1000, more[0] / 1000)
    return checked(first / 1000)


# --- mappings -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Mapping:
    """One mapping."""

    pattern: MappingPattern
    place: str
    answer: _Answer
    given: t.Mapping[str, str]
    """States of scenarios in which it is asked."""
    sets: t.Mapping[str, str]
    """States of scenarios with its answer."""

    def tell(self, stub: Stub) -> None:
        """Let ``stub`` do what the mapping says.

        :param stub: has :attr:`pattern`, and no answer yet
        """
        stub.optional().given(**self.given).sets(**self.sets)
        answer = self.answer
        if answer.action is None:
            stub.passes(answer.upstream).delayed(answer.delay)
            return
        answer.action.delay = answer.delay
        stub._put(answer.action)
        if answer.fault is not None:
            stub.fails(answer.fault)


def read_mappings(path: str | os.PathLike[str]) -> list[Mapping]:
    """Read mappings, in the order in which WireMock would add them: of equals, the last that
    matches answers.

    :param path: a file, or a folder: that of WireMock, with ``mappings`` and ``__files``, or
        one with mappings. Files are read by name, in any depth.
    :raises MappingError: something cannot be read, or there is no mapping; says all of it
    :raises OSError: a file cannot be had
    """
    root = pathlib.Path(path)
    found, mistakes = [], t.cast("list[str]", [])
    if root.is_dir():
        folder = root / "mappings" if (root / "mappings").is_dir() else root
        paths = [each for each in sorted(folder.rglob("*.json")) if "__files" not in each.parts]
    else:
        folder, paths = root.parent, [root]
    beside = [each / "__files" for each in (root, folder, folder.parent)]
    files = next((each for each in beside if each.is_dir()), beside[0 if root.is_dir() else 1])
    for file in paths:
        found += _read_file(file, files, mistakes)
    if not found and not mistakes:
        mistakes.append(f"{root}: there is no mapping")
    if mistakes:
        raise MappingError(mistakes)
    return found


def _read_file(file: pathlib.Path, files: pathlib.Path, mistakes: list[str]) -> list[Mapping]:
    place = Place(str(file), mistakes)
    try:
        value = json.loads(file.read_bytes())
    except ValueError as exc:
        place.mistake(exc)
        return []
    if isinstance(value, dict) and "mappings" not in value:
        return [_mapping(Object(value, place), file.name, files)]
    if isinstance(value, dict):
        whole = Object(value, place)
        value, place = whole.take("mappings", list, []), place.at("mappings")
        if "meta" in whole:
            whole.take_any("meta")
        whole.end()
    if not isinstance(value, list):
        place.mistake(f"an object or a list is wanted, not {described(value)}")
        return []
    return [
        _mapping(Object(each, place.at(n)), f"{file.name} [{n}]", files)
        for n, each in enumerate(value)
    ]


def _mapping(given: Object, name: str, files: pathlib.Path) -> Mapping:
    for note in _NOTES:
        if note in given:
            given.take_any(note)
    priority = given.take("priority", int, _PRIORITY)
    scenario = given.take("scenarioName", str)
    required = given.take("requiredScenarioState", str)
    new = given.take("newScenarioState", str)
    if scenario is None and (required, new) != (None, None):
        given.place.mistake("a state of a scenario needs scenarioName")
    place = given.place
    request = Object(given.take("request", dict, {}), place.at("request"))
    response = Object(given.take("response", dict, {}), place.at("response"))
    given.end()
    return Mapping(
        _pattern(request, _PRIORITY if priority is None else priority),
        name,
        _answer(response, files),
        {scenario: required} if scenario and required else {},
        {scenario: new} if scenario and new else {},
    )
