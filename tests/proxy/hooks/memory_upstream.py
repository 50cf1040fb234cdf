"""An upstream in memory: proxies with hooks without sockets, loops or threads."""

from rolo import Request
from rolo.bridge.lazy_response import UpstreamAnswer
from rolo.errors import RoloError
from rolo.net.body import Body
from rolo.proxy import Hooks, ProxyHandler
from rolo.proxy.client import ForwardingClient

URL = "http://origin.test"


class Pieces(Body):
    """The body of an answer; an exception among its pieces is raised."""

    def __init__(self, pieces, here, trailers=()):
        self.pieces = list(pieces)
        self.here = here
        self.closed = 0
        self.read = 0
        self._trailers = list(trailers)

    def __iter__(self):
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            self.read += 1
            yield piece

    def read_whole_nowait(self):
        return b"".join(self.pieces) if self.here else None

    @property
    def trailers(self):
        return self._trailers

    def close(self):
        self.closed += 1


def answer(*pieces, status=200, reason=b"OK", headers=(), here=False, length=True, **body):
    """An answer of so many pieces; all of it has come already if it is ``here``."""
    fields = list(headers)
    if length and not any(isinstance(piece, Exception) for piece in pieces):
        fields.append((b"Content-Length", b"%d" % sum(map(len, pieces))))
    return UpstreamAnswer(status, reason, fields, Pieces(pieces, here, **body))


class Upstream(ForwardingClient):
    """Answers requests with the next of ``answers``, the last of them for ever."""

    def __init__(self, *answers):
        super().__init__()
        self.answers = list(answers) or [answer(b"ok")]
        self.requests = []
        self.bodies = []

    def send(self, request, portal, on_interim=None):
        assert portal is None
        self.requests.append(request)
        body = request.body
        if body is not None and not isinstance(body, bytes):
            body = b"".join(body) if not hasattr(body, "read") else body.read()
        self.bodies.append(body)
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(given, Exception):
            raise given
        return given

    @property
    def last(self):
        return self.requests[-1]

    def field(self, name):
        """The values of a field of the last request."""
        return [value for key, value in self.last.headers if key.lower() == name.lower()]


class Told(Hooks):
    """Keeps the context of the last exchange, and how it was when that was over."""

    def on_finished(self, context):
        self.context = context
        self.times = getattr(self, "times", 0) + 1
        self.end = context.outcome, context.status, context.bytes_received, context.bytes_sent


class Proxied:
    """A proxy with hooks in front of an upstream in memory."""

    def __init__(self, *hooks, answers=(), **functions):
        self.upstream = Upstream(*answers)
        self.told = Told()
        self.handler = ProxyHandler(URL, self.upstream, hooks=[self.told, *hooks], **functions)

    def ask(self, method="GET", path="/", headers=None, body=None, **request):
        """Send a request; returns the answer, its body read and closed in ``.whole``."""
        asked = Request(method, path, headers=headers, body=body, **request)
        try:
            response = self.handler.proxy.forward(asked)
        except RoloError as error:
            return error
        try:
            response.whole = b"".join(response.iter_encoded())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            response.whole = error
        finally:
            response.close()
        return response
