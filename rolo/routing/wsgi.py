"""A router as a WSGI application: loaded only by those who ask for one."""

from __future__ import annotations

import logging
import typing as t

from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.wrappers import Response as WerkzeugResponse

from rolo.bridge.wsgi_answer import line_of, start_answer
from rolo.portal.containment import ERRORS, contained
from rolo.request import Request
from rolo.response import Response

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOG = logging.getLogger(__name__)

Dispatch = t.Callable[[Request], WerkzeugResponse]


def application(dispatch: Dispatch) -> WSGIApplication:
    """Return the application; see :meth:`rolo.Router.wsgi`."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> t.Iterable[bytes]:
        request = Request.from_environ(environ)
        response = t.cast(Response, _respond(dispatch, request, environ))
        return start_answer(response, request, start_response)

    return app


def _respond(dispatch: Dispatch, request: Request, environ: WSGIEnvironment) -> WerkzeugResponse:
    try:
        return dispatch(request)
    except HTTPException as exc:
        return exc.get_response(environ)
    except ERRORS as exc:
        LOG.error("error while handling %s", line_of(request), exc_info=contained(exc))
        return InternalServerError().get_response(environ)
