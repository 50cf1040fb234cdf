"""A server for one test: stubs, an upstream behind them, and what came."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import typing as t

from rolo.bridge.limits import Limits
from rolo.bridge.observer import Observer
from rolo.faults import Faults
from rolo.har import Entry, Recording, Redaction
from rolo.har.pace import Gate
from rolo.harness import texts
from rolo.harness.actions import Action, Comparing, Passing, Replaying
from rolo.harness.answering import Answering
from rolo.harness.book import Book
from rolo.harness.certificates import ClientCertificate, authority
from rolo.harness.conditions import Conditions, patterns_of
from rolo.harness.failing import Traffic
from rolo.harness.journal import MAX_BODY, MAX_KEPT, MAX_RECORDS, Journal
from rolo.harness.listening import Listening, OnGround, OnServer, application, url_of
from rolo.harness.received import Received, check_order
from rolo.harness.record import Record
from rolo.harness.recordings import Given, Recordings
from rolo.harness.stub import Stub
from rolo.harness.upstream import Upstream
from rolo.harness.wiremock import STARTED, read_mappings
from rolo.matching import RequestPattern
from rolo.matching.seen import WEBSOCKET

if t.TYPE_CHECKING:
    from rolo.inspector import InspectorPage

_SETTLE = 1.0
"""Seconds for which a question about what came waits for exchanges that are about to end."""

Mode = t.Literal["stubs", "spy", "capture", "replay", "diff"]
"""Who answers:

- ``stubs``: stubs, else it is 404
- ``spy``: stubs, else the upstream, of which all is recorded
- ``capture``: the upstream, of which all is recorded; stubs are not asked
- ``replay``: stubs, else the recording
- ``diff``: the upstream; where its answers are not those of the recording, the test fails. Stubs
  are not asked.
"""
_FATES: dict[Mode, str] = {
    "stubs": "matched no stub",
    "spy": "sent on",
    "capture": "sent on",
    "replay": "replayed",
    "diff": "sent on and compared",
}


class Unverified(AssertionError):
    """A test ended with something that is not as it should be: a request that no stub matched,
    a stub that nobody called. The message says all of it."""


class Harness:
    """A server whose answers a test chooses, and that remembers what came.

    It is ready when it is made. As a context manager it is closed at the end of the block, and,
    unless that is left by an error, raises :class:`Unverified` as :meth:`verify` does.

    :param upstream: where goes what no stub matches: a URL, an ASGI or WSGI application, a
        gateway or a router (served as long as the harness is); ``None``: nowhere, it is
        answered 404
    :param mode: who answers, see :data:`Mode`; ``None``: ``spy`` if there is an upstream, else
        ``replay`` if there is a recording, else ``stubs``
    :param recording: what is replayed, or compared with: a :class:`~rolo.har.Player`, a
        :class:`~rolo.har.Recording`, or the path of a HAR file. The file is written at the end
        if the mode is ``capture`` then.
    :param redaction: secrets that recordings do not hold, beside the usual ones
    :param observers: are told of everything, see :mod:`rolo.observing`
    :param inspect: show what passes, live, in a browser, see :attr:`inspector_url`
    :param server: ``native``, which all faults need, or another of
        :data:`rolo.serving.SERVERS` that speaks websockets
    :param tls: serve ``https`` with a certificate of a throw-away authority, see
        :attr:`ca_file`; needs ``trustme``, which ``rolo[testing]`` installs
    :param client_certificates: with ``tls``: refuse clients that have none of
        :meth:`client_certificate`; the native server only
    :param http2: the native server speaks HTTP/2 as well, by prior knowledge, with ``tls`` by
        ALPN; needs ``h2``. Other servers do what they do.
    :param host: address to listen on
    :param port: 0 lets the system choose
    :param strict: :meth:`verify` complains of requests that nothing matched and of stubs that
        nobody called
    :param timeout: seconds for which waits wait if they do not say
    :param seed: of all that is drawn by chance; ``None`` takes one by chance, see :attr:`seed`
    :param max_body: bytes kept of each body, and of the messages of each websocket
    :param max_kept: bytes kept of all of them; the oldest go first
    :param max_records: exchanges that are kept; the oldest go first
    :param limits: what clients may ask
    :param options: of the server, under its own names
    """

    def __init__(
        self,
        upstream: t.Any = None,
        *,
        mode: Mode | None = None,
        recording: Given = None,
        redaction: Redaction | None = None,
        observers: t.Iterable[Observer] = (),
        inspect: bool = False,
        server: str = "native",
        tls: bool = False,
        client_certificates: bool = False,
        http2: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        strict: bool = True,
        timeout: float = 5.0,
        seed: int | None = None,
        max_body: int = MAX_BODY,
        max_kept: int = MAX_KEPT,
        max_records: int = MAX_RECORDS,
        limits: Limits | None = None,
        **options: t.Any,
    ) -> None:
        self.seed: int = random.randrange(2**32) if seed is None else seed
        """Makes what is drawn by chance the same again."""
        self.strict = strict
        self.timeout = timeout
        self._gate = Gate()
        self._journal = Journal(max_body, max_kept, max_records)
        self._environment: dict[str, str | None] = {}
        self._closed = False
        self._mutex = threading.Lock()
        self._faults = Faults(self.seed)
        self._page: InspectorPage | None = None
        self._upstream = Upstream(upstream, Faults(self.seed))
        try:
            self._book = Book(self._upstream, self.seed)
            self._answering = Answering(
                self._book,
                self._journal,
                random.Random(self.seed),
                self._gate,
                timeout,
                self._faults,
            )
            self._recordings = Recordings(
                recording, self._upstream.url, redaction, self._book.problem
            )
            if mode is None:
                mode = "replay" if recording is not None else "stubs"
                mode = mode if self._upstream.url is None else "spy"
            self.mode = mode
            observers = [self._journal, *observers]
            if inspect:
                self._page, observer = _inspector()
                observers.append(observer)
            app = application(self._answering, observers, limits or Limits())
            self._listening: Listening
            if server == "native":
                alpn = ("h2", "http/1.1") if http2 else ("http/1.1",)
                context = (
                    authority().context(host, alpn, demand=client_certificates) if tls else None
                )
                self._listening = OnGround(app, host, port, context, http2, options)
            elif client_certificates:
                raise ValueError("client certificates are asked for by the native server only")
            else:
                certificate = authority().server(host) if tls else None
                self._listening = OnServer(app, host, port, server, certificate, options)
        except BaseException:
            self._upstream.close()
            if self._page is not None:
                self._page.close()
            raise
        self.host = self._listening.host
        self.port = self._listening.port
        self._tls = tls
        self.url = url_of(self._listening, tls=tls)
        """Without a path, and without a slash at the end."""

    @property
    def inspector_url(self) -> str:
        """The page that shows what passes; it has a token, and goes with the harness.

        :raises RuntimeError: it was not asked for
        """
        if self._page is None:
            raise RuntimeError("the inspector is there with inspect=True only")
        return self._page.url

    # --- stubs

    def on(
        self,
        method: str | t.Iterable[str] | None,
        path: str | None,
        **conditions: t.Unpack[Conditions],
    ) -> Stub:
        """Return a stub for requests that are like this, which does nothing until it is told
        what to answer.

        Of several that match, the most specific is asked, and of equals the latest; one that
        has given all its answers is not asked any more.

        :param method: one, several, or ``None`` for each
        :param path: a rule of the router's: ``/users/<int:id>``; ``None`` is any
        :param conditions: see :class:`~rolo.matching.RequestPattern`
        """
        return self._book.make(RequestPattern(method, path, **conditions), _place())

    def get(self, path: str, **conditions: t.Unpack[Conditions]) -> Stub:
        """Return a stub for GET and HEAD, see :meth:`on`."""
        return self.on("GET", path, **conditions)

    def post(self, path: str, **conditions: t.Unpack[Conditions]) -> Stub:
        """Return a stub for POST, see :meth:`on`."""
        return self.on("POST", path, **conditions)

    def put(self, path: str, **conditions: t.Unpack[Conditions]) -> Stub:
        """Return a stub for PUT, see :meth:`on`."""
        return self.on("PUT", path, **conditions)

    def patch(self, path: str, **conditions: t.Unpack[Conditions]) -> Stub:
        """Return a stub for PATCH, see :meth:`on`."""
        return self.on("PATCH", path, **conditions)

    def delete(self, path: str, **conditions: t.Unpack[Conditions]) -> Stub:
        """Return a stub for DELETE, see :meth:`on`."""
        return self.on("DELETE", path, **conditions)

    def head(self, path: str, **conditions: t.Unpack[Conditions]) -> Stub:
        """Return a stub for HEAD alone, see :meth:`on`."""
        return self.on("HEAD", path, **conditions)

    def options(self, path: str, **conditions: t.Unpack[Conditions]) -> Stub:
        """Return a stub for OPTIONS, see :meth:`on`."""
        return self.on("OPTIONS", path, **conditions)

    def any(self, path: str | None = None, **conditions: t.Unpack[Conditions]) -> Stub:
        """Return a stub for each method, see :meth:`on`."""
        return self.on(None, path, **conditions)

    def websocket(self, path: str | None = None, **conditions: t.Unpack[Conditions]) -> Stub:
        """Return a stub for websocket handshakes, see :meth:`on`."""
        return self.on(WEBSOCKET, path, **conditions)

    def passing(
        self,
        path: str | None = None,
        method: str | t.Iterable[str] | None = None,
        **conditions: t.Unpack[Conditions],
    ) -> Traffic:
        """Return what goes on to an upstream and is like this (websockets, too), to let it fail:
        ``api.passing("/c").fails(cut(after=1000), every=3)``.

        :param path: a rule of the router's, ``None`` for any
        :param method: one, several, or ``None`` for each
        """
        self._upstream.expect_faults()
        return Traffic(self._upstream.faults, patterns_of(method, path, conditions))

    def everything(
        self,
        path: str | None = None,
        method: str | t.Iterable[str] | None = None,
        **conditions: t.Unpack[Conditions],
    ) -> Traffic:
        """As :meth:`passing`, of what comes, whoever answers it: ``with
        api.everything().outage(): ...``."""
        return Traffic(self._faults, patterns_of(method, path, conditions))

    def wiremock(self, path: str | os.PathLike[str]) -> list[Stub]:
        """Make stubs of WireMock's JSON mappings; none of them needs to be called. Among them
        WireMock's rules say who answers: the lowest ``priority``, and of equals the last. Other
        stubs are asked before.

        :param path: a file, or a folder: that of WireMock, with ``mappings`` and ``__files``,
            or one with mappings
        :raises MappingError: something in them is not read here; says all of it, with places
        :raises OSError: a file cannot be had
        """
        stubs = []
        for mapping in read_mappings(path):
            for name in (*mapping.given, *mapping.sets):
                self.states.setdefault(name, STARTED)
            stub = self._book.make(mapping.pattern, mapping.place)
            mapping.tell(stub)
            stubs.append(stub)
        return stubs

    @property
    def stubs(self) -> list[Stub]:
        """Those that there are, in the order in which they were made."""
        return self._book.stubs()

    @property
    def states(self) -> dict[str, t.Any]:
        """The states of scenarios by name; may be changed. See :meth:`Stub.given`."""
        return self._book.states

    @property
    def mode(self) -> Mode:
        """Who answers, see :data:`Mode`. May be changed at any time, for requests from then on."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode not in t.get_args(Mode):
            raise ValueError(f"the mode is one of {', '.join(t.get_args(Mode))}, not {mode!r}")
        otherwise: Action | None = None
        if mode in ("spy", "capture"):
            otherwise = Passing(self._upstream.handler(None), hooked=False)
        elif mode == "diff":
            assert self._recordings.player
            otherwise = Comparing(self._upstream.handler(None), self._recordings.expect)
        elif mode == "replay":
            if self._upstream.url is not None:
                otherwise = Passing(self._upstream.handler(None), hooked=False)
            otherwise = Replaying(self._recordings.player, otherwise)
        answering = self._answering
        answering.otherwise, answering.fate = otherwise, _FATES[mode]
        answering.stubbed = mode not in ("capture", "diff")
        self._recordings.records = mode in ("spy", "capture", "diff") or self._passes_new(mode)
        if self._recordings.records:  # and from then on: some go on when it does not any more
            self._journal.recordings = self._recordings
        self._mode: Mode = mode

    def _passes_new(self, mode: Mode) -> bool:
        """Whether what is not recorded goes on to the upstream, to be recorded."""
        return mode == "replay" and self._recordings.player.missing == "pass"

    @property
    def recording(self) -> Recording:
        """What was recorded of exchanges that have ended: in the modes ``spy``, ``capture`` and
        ``diff`` all of them."""
        self._listening.wait_observed(_SETTLE)
        return self._recordings.recording

    @property
    def unused(self) -> list[Entry]:
        """The entries of the recording that is replayed, or compared with, for which nobody has
        asked."""
        return self._recordings.unused()

    def keep_recording(self, keep: t.Callable[[Recording], None]) -> None:
        """Call ``keep`` with :attr:`recording` when the harness is closed and all exchanges are
        over; bodies that are in temporary files are gone afterwards."""
        self._recordings.keep = keep

    def wait_observed(self, timeout: float | None = _SETTLE) -> bool:
        """Block until observers were told of all that happened before the call, see
        :meth:`rolo.serving.RunningServer.wait_observed`."""
        return self._listening.wait_observed(timeout)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :attr:`recording` as HAR 1.2, without secrets."""
        self._listening.wait_observed(_SETTLE)
        self._recordings.save(path)

    def step(self, count: int = 1) -> None:
        """Let ``count`` of those who wait at a ``gate()`` pass, or whoever comes there next. In
        the mode ``replay``, with a player whose pace is ``gated``: so many pieces or messages."""
        if self._mode == "replay" and self._recordings.player.pace == "gated":
            self._recordings.player.step(count)
        else:
            self._gate.step(count)

    def reset(self) -> None:
        """Remove all stubs and faults, and forget what came, problems and states of scenarios."""
        self._book.clear()
        self._faults.clear()
        self._upstream.faults.clear()
        self._journal.clear()

    def lend(self) -> set[Stub]:
        """Forget what came so far, and return what :meth:`give_back` wants to have: the stubs
        that stay."""
        self._book.forgive()
        self._journal.clear()
        for stub in self.stubs:
            stub.optional()
        return set(self.stubs)

    def give_back(self, lent: set[Stub]) -> None:
        """Be as before :meth:`lend`: without the stubs made since."""
        for stub in self.stubs:
            if stub not in lent:
                stub.remove()
        self._faults.clear()
        self._upstream.faults.clear()
        self._book.forgive()
        self._journal.clear()

    # --- what came

    def received(
        self,
        method: str | t.Iterable[str] | None = None,
        path: str | None = None,
        *,
        message: t.Any = None,
        **conditions: t.Unpack[Conditions],
    ) -> Received:
        """Return the requests that came and are like this, answered by a stub or not.

        :param message: of a websocket: a message that its client sent is like this
        """
        self._listening.wait_observed(_SETTLE)
        pattern = RequestPattern(method, path, **conditions)
        return self._found(pattern, message)

    def wait_for(
        self,
        method: str | t.Iterable[str] | None = None,
        path: str | None = None,
        *,
        count: int = 1,
        timeout: float | None = None,
        whole: bool = True,
        message: t.Any = None,
        **conditions: t.Unpack[Conditions],
    ) -> Received:
        """Wait until at least ``count`` requests came that are like this, and return them.

        :param timeout: seconds; ``None`` for the harness's
        :param whole: with all of their bodies; else the head is enough
        :raises AssertionError: they did not come in time; shows the nearest that did
        """
        __tracebackhide__ = True
        pattern = RequestPattern(method, path, **conditions)

        def come() -> bool:
            found = self._found(pattern, message)
            return sum(not whole or record.whole for record in found) >= count

        self._journal.wait_until(come, self.timeout if timeout is None else timeout)
        return self._found(pattern, message).at_least(count)

    async def wait_for_async(self, *request: t.Any, **conditions: t.Any) -> Received:
        """As :meth:`wait_for`, for tests in coroutines."""
        return await asyncio.to_thread(self.wait_for, *request, **conditions)

    def wait_until(self, condition: t.Callable[[], object], timeout: float | None = None) -> None:
        """Wait until ``condition()`` is true; it is asked whenever something has happened here.

        :param timeout: seconds; ``None`` for the harness's
        :raises AssertionError: it is not true in time
        """
        __tracebackhide__ = True
        seconds = self.timeout if timeout is None else timeout
        if not self._journal.wait_until(lambda: bool(condition()), seconds):
            raise AssertionError(f"not so after {seconds:g} s:\n\n{self.transcript()}")

    def in_order(self, *received: Received) -> None:
        """Check that of each of these one came after that of the one before:
        ``api.in_order(api.received("POST", "/login"), api.received("GET", "/me"))``.

        :raises AssertionError: they did not
        """
        __tracebackhide__ = True
        check_order(received)

    @property
    def records(self) -> list[Record]:
        """All that came, in order, up to the bounds."""
        self._listening.wait_observed(_SETTLE)
        return self._journal.records()

    @property
    def unmatched(self) -> list[Record]:
        """The requests that no stub matched, and that were not sent on."""
        return [record for record in self.records if record.fate == "matched no stub"]

    def transcript(self) -> str:
        """Return what happened, for people to read."""
        return texts.transcript(self.records)

    def _found(self, pattern: RequestPattern, message: t.Any) -> Received:
        everything = self._journal.records()
        found = [
            record
            for record in everything
            if pattern.matched(record.seen) is not None
            and (message is None or record.has_message(message))
        ]
        wanted = pattern.describe() + (" with a message" if message is not None else "")
        return Received(wanted, pattern, found, everything, self._journal.forgotten)

    # --- the end

    def problems(self) -> list[str]:
        """Return what :meth:`verify` complains of, apart from stubs that nobody called."""
        return self._book.problems() + self._recordings.problems()

    def forgive(self) -> None:
        """Forget problems so far: requests that no stub matched, scripts that were not kept to,
        functions that raised."""
        self._book.forgive()

    def verify(self) -> None:
        """Check that all requests were dealt with by a stub or the upstream, and that all stubs
        were called, as often as they say.

        :raises Unverified: it is not so; says all that is not
        """
        __tracebackhide__ = True
        if not self.strict:
            return
        self._listening.wait_observed(_SETTLE)
        complaints = self.problems()
        if self._answering.stubbed:
            complaints += self._book.unused()
        if complaints:
            raise Unverified(texts.ending(complaints))

    def env(self, name: str, path: str = "") -> str:
        """Set the environment variable ``name`` to the URL (and ``path``) until the harness is
        closed; return the value."""
        return self._set_environment(name, self.url + path)

    @property
    def ca_file(self) -> str:
        """PEM file of the authority that signed the certificate, for clients to trust.

        :raises ValueError: the harness was made without ``tls``
        """
        if not self._tls:
            raise ValueError("there are certificates with harness(tls=True) only")
        return authority().file

    def client_certificate(self, name: str = "client") -> ClientCertificate:
        """Return certificate and key (paths of PEM files) of a client with this common name:
        ``requests.get(url, verify=api.ca_file, cert=api.client_certificate())``.

        :raises ValueError: the harness was made without ``tls``
        """
        assert self.ca_file
        return authority().client(name)

    def export_ca(self, *names: str) -> None:
        """Set environment variables to :attr:`ca_file` until the harness is closed.

        :param names: none: ``SSL_CERT_FILE`` and ``REQUESTS_CA_BUNDLE``. They take the place of
            the system's authorities: other servers are not trusted meanwhile.
        """
        for name in names or ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            self._set_environment(name, self.ca_file)

    def close(self) -> None:
        """Break off what is under way, stop, and set the environment back. May be called again."""
        with self._mutex:
            if self._closed:
                return
            self._closed = True
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        try:
            self._listening.close()
            self._recordings.finish(captured=self._mode == "capture")
        finally:
            self._answering.close()
            self._upstream.close()
            self._recordings.discard()
            if self._page is not None:
                self._page.close()

    def _set_environment(self, name: str, value: str) -> str:
        self._environment.setdefault(name, os.environ.get(name))
        os.environ[name] = value
        return value

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> None:
        __tracebackhide__ = True
        try:
            if exc_type is None:
                self.verify()
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"<Harness at {self.url}>"


def _inspector() -> tuple[InspectorPage, Observer]:
    from rolo.inspector import Inspector

    inspector = Inspector()
    return inspector.open(), inspector.observer


def _place() -> str:
    """Return file and line of whoever called this package."""
    frame = sys._getframe(1)
    here = frame.f_globals.get("__package__")
    while frame.f_back is not None and frame.f_globals.get("__package__") == here:
        frame = frame.f_back
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
