"""What exchanges and websockets with hooks have in common: asking hooks, and the end."""

from __future__ import annotations

import asyncio
import typing as t

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from rolo.errors import ClientDisconnected, ConnectError, RoloError
from rolo.portal.containment import ERRORS
from rolo.portal.hook_runner import HookRunner, may_wait
from rolo.portal.portal import Portal
from rolo.proxy.hooks.bodies import seen
from rolo.proxy.hooks.context import MAX_TRIES, ProxyContext, ProxyOutcome
from rolo.proxy.hooks.phases import Phases
from rolo.proxy.hooks.transform import failed
from rolo.response import Response

T = t.TypeVar("T")
F = t.TypeVar("F")


class HookedRun(t.Generic[F]):
    """Takes one request through hooks.

    :param forwarder: what the hooks stand on
    :param portal: how to wait for the loop; ``None`` where there is none
    """

    _finished = False

    def __init__(
        self, phases: Phases, forwarder: F, context: ProxyContext, portal: Portal | None
    ) -> None:
        self._phases = phases
        self._forwarder = forwarder
        self._context = context
        self._portal = portal

    def run(self) -> Response:
        """Return the answer.

        :raises RoloError: there is none, and no hook gave another
        :raises HTTPException: a hook raised it
        """
        life = self._phases.life
        if life is not None:
            life.enter(self._portal)
            self._context._life = life
        attempt = self._begin
        while True:
            try:
                answered = attempt()
            except HTTPException as exc:
                self._finish("answered", exc)
                raise
            except Exception as exc:  # noqa: BLE001 - raised again, unless a hook answers
                answered = self._failed(exc)
            except BaseException as exc:
                self._finish("client gone" if self._context.client_gone else "refused", exc)
                raise
            if answered is not None:
                return answered
            self._context.start_again()
            attempt = self._try

    def _begin(self) -> Response | None:
        """Return what ``on_request`` answers, else as :meth:`_try`."""
        raise NotImplementedError

    def _try(self) -> Response | None:
        """Return the answer of the upstream, or of a hook; ``None`` for another try."""
        raise NotImplementedError

    def _connect(self, attempt: t.Callable[[], T]) -> T | Response | None:
        """Return what ``attempt`` gives if the upstream can be reached, else the answer of a
        hook; ``None`` for another try."""
        context = self._context
        tried = context.chosen
        try:
            return attempt()
        except ConnectError as exc:
            error = exc
        context.error = error
        answered = self._ask("on_connect_failed", error)
        if answered is not None:
            return answered
        if context.again or (tried != context.chosen and context.tries < MAX_TRIES):
            return None
        raise error

    # --- the end

    def _answered(self, response: Response) -> Response:
        """Return a hook's own answer; its end is the end of the exchange."""
        self._context.status = response.status_code
        if self._phases.watch_end:
            if response.is_sequence:
                self._context.bytes_sent = response.calculate_content_length() or 0
            else:
                response.response = seen(response.iter_encoded(), self._sent)
            response.call_on_close(lambda: self._finish("answered", None))
        return response

    def _sent(self, piece: bytes) -> None:
        self._context.bytes_sent += len(piece)

    def _failed(self, error: Exception) -> Response | None:
        context = self._context
        context.error = error
        if isinstance(error, ClientDisconnected):
            self._finish("client gone", error)
            raise error
        try:
            answered = self._ask("on_error", error)
        except BaseException as exc:
            self._finish("refused", exc)
            raise
        if context.again:
            return None
        if answered is None:
            self._finish("refused", error)
            raise error
        context.status = answered.status_code
        if self._phases.watch_end:
            answered.call_on_close(lambda: self._finish("refused", error))
        return answered

    def _finish(self, outcome: ProxyOutcome, error: BaseException | None) -> None:
        if self._finished:
            return
        self._finished = True
        context, portal = self._context, self._portal
        context.outcome, context.error, context.seconds = outcome, error, context.elapsed()
        if context.status is None and error is not None and outcome != "client gone":
            context.status = _status_of(error)
        if context.spoken_events is not None:
            context.spoken_events.end()
        if not self._phases.watch_end:
            return
        if portal is None or may_wait(portal):
            self._call_finished()
        else:
            HookRunner.of(portal).start(portal, self._call_finished)

    def _call_finished(self) -> None:
        self._context.phase = "on_finished"
        for hook in self._phases["on_finished"]:
            try:
                hook.call(self._context)
            except (*ERRORS, asyncio.CancelledError) as exc:
                failed(hook.label, exc, steered=False)
        if self._phases.life is not None:
            self._phases.life.leave()

    # --- calling

    def _ask(self, phase: str, subject: t.Any = None) -> Response | None:
        """Call the hooks of a phase until one answers, or decides for another try.

        :param subject: given to them after the context; ``None`` if the phase has none
        """
        hooks = self._phases[phase]
        if not hooks:
            return None
        context = self._context
        context.phase = phase
        for hook in hooks:
            try:
                answered = hook.call(context) if subject is None else hook.call(context, subject)
            except (HTTPException, RoloError):
                raise
            except ERRORS as exc:
                raise failed(hook.label, exc) from exc
            if answered is not None:
                context.again = False
                return _response(hook.label, answered)
            if context.again:
                break
        return None


def _status_of(error: BaseException) -> int:
    """Return the status of the answer that is made of ``error``."""
    if isinstance(error, HTTPException):
        return error.get_response().status_code
    return error.status if isinstance(error, RoloError) else 500


def _response(label: str, answered: t.Any) -> Response:
    if isinstance(answered, Response):
        return answered
    if isinstance(answered, WerkzeugResponse):
        response = Response()
        response.update_from(answered)
        return response
    error = TypeError(f"a response or nothing is to be returned, not {type(answered).__name__}")
    raise failed(label, error) from error
