"""The gateways that ``compare.py`` asks: a program written for rolo 0.8.9, run unchanged on that
version and on ours.

``python compare_gateways.py SERVER PORT ORIGIN``; SERVER is hypercorn, werkzeug or twisted, ORIGIN
the URL that the proxies forward to. Runs until its standard input ends.
"""

import asyncio
import io
import json
import logging
import sys
import threading

import pydantic
import requests
from werkzeug.datastructures import Headers
from werkzeug.exceptions import Conflict, NotFound
from werkzeug.routing import BaseConverter, Rule, RuleFactory
from werkzeug.utils import redirect

from rolo import Request, Resource, Response, Router, route
from rolo.client import SimpleRequestsClient, make_request
from rolo.gateway import CompositeHandler, Gateway, HandlerChain, RequestContext
from rolo.gateway.handlers import EmptyResponseHandler, RouterHandler, WerkzeugExceptionHandler
from rolo.proxy import Proxy, ProxyHandler, forward
from rolo.request import get_full_raw_path, get_raw_base_url, get_raw_path, restore_payload
from rolo.routing import RuleAdapter, WithHost, handler_dispatcher
from rolo.websocket import WebSocketDisconnectedError

SERVER, PORT, ORIGIN = sys.argv[1], int(sys.argv[2]), sys.argv[3]
ENVIRON = [
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "RAW_URI",
    "REQUEST_URI",
    "SERVER_PROTOCOL",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "HTTP_HOST",
    "HTTP_X_ONE",
    "HTTP_X_TWO",
    "HTTP_COOKIE",
    "HTTP_CONTENT_LENGTH",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_EXPECT",
    "wsgi.url_scheme",
    "wsgi.input_terminated",
]


class Item(pydantic.BaseModel):
    name: str
    price: float = 1.0


# What requests look like ----------------------------------------------------------------------


def seen(request: Request) -> dict:
    environ = request.environ
    return {
        "method": request.method,
        "path": request.path,
        "raw_path": get_raw_path(request),
        "full_raw_path": get_full_raw_path(request),
        "raw_base_url": get_raw_base_url(request),
        "url": request.url,
        "host": request.host,
        "scheme": request.scheme,
        "query": request.query_string.decode("latin-1"),
        "args": sorted(request.args.items(multi=True)),
        "names": [name for name, _ in request.headers],
        "fields": sorted([name.lower(), value] for name, value in request.headers),
        "content_type": request.content_type,
        "content_length": request.content_length,
        "environ": {key: str(environ[key]) for key in ENVIRON if key in environ},
    }


def echo(request: Request, path: str = ""):
    body = request.get_data()
    return {"argument": path, **seen(request), "body": body.decode("latin-1")}


def form(request: Request):
    files = [[n, f.filename, f.read().decode("latin-1")] for n, f in request.files.items(True)]
    return {
        "form": sorted([name, len(value), value[:20]] for name, value in request.form.items(True)),
        "files": files,
        "payload": len(restore_payload(request)),
    }


def stream(request: Request):
    first = request.stream.read(5)
    return {"first": first.decode(), "rest": len(request.stream.read())}


def payload(request: Request):
    return restore_payload(request)


# What answers look like -----------------------------------------------------------------------


def fields(request: Request):
    response = Response("body")
    response.headers["X-Mixed-CASE"] = "1"
    response.headers.add("X-Twice", "a")
    response.headers.add("X-Twice", "b")
    response.set_cookie("one", "1")
    response.set_cookie("two", "2", path="/p")
    response.headers["eTag"] = '"x"'
    return response


def pieces(request: Request):
    return Response(iter([b"one", b"", b"two"]))


def status(request: Request, status: int):
    return Response("a body", status=status)


def fails(request: Request):
    raise ValueError("on purpose")


def conflicts(request: Request):
    raise Conflict("already there")


def missing(request: Request):
    raise NotFound("endpoint's own")


def fails_late(request: Request):
    def generate():
        yield b"begun"
        raise ValueError("on purpose, late")

    return Response(generate())


def typed(request: Request, item: Item) -> Item:
    return item


def typed_default(request: Request, item: Item = None):
    return {"item": item and item.model_dump()}


class Things:
    @route("/things", methods=["GET"])
    def listed(self, request: Request):
        return ["a", "b"]

    @route("/things/<thing_id>", methods=["GET", "PUT"])
    def one(self, request: Request, thing_id: str):
        return {"thing": thing_id}


class Methods:
    def on_get(self, request: Request):
        return "got"

    def on_post(self, request: Request):
        return "posted"


def old_style(request: Request, args: dict):
    return Response(json.dumps(args), mimetype="application/json")


def forward_with_session(request: Request, path: str = ""):
    return PROXY.forward(request, "/" + path, headers={"X-Added": "1"})


PROXY = Proxy(ORIGIN)
Request.max_form_memory_size = 5_000_000


def mutate(request: Request, kind: str) -> None:
    """Change ``request`` as handlers do."""
    environ = request.environ
    if kind == "headers":
        request.headers["X-One"] = "changed"
        request.headers.add("X-New", "1")
        request.headers.remove("X-Gone")
    elif kind == "new-headers":
        request.headers = Headers([("Host", "new.example"), ("X-Only", "this")])
    elif kind == "target":
        environ["RAW_URI"] = environ["REQUEST_URI"] = "/changed%2Ftarget?q=new"
        environ["PATH_INFO"] = "/changed/target"
        environ["QUERY_STRING"] = "q=new"
    elif kind == "path":
        request.path = "/changed"
    elif kind == "query":
        request.query_string = b"changed=1"
    elif kind == "method":
        request.method = "PUT"
    elif kind == "method-variable":
        environ["REQUEST_METHOD"] = "PUT"
    elif kind == "host":
        request.headers["Host"] = "changed.example"
    elif kind == "stream":
        environ["wsgi.input"] = io.BytesIO(b"another body")
        environ["CONTENT_LENGTH"] = "12"
        request.headers["Content-Length"] = "12"
    elif kind == "data":
        request.get_data()
        request.data = b"other data"
        request.headers["Content-Length"] = "10"
    elif kind == "read":
        request.stream.read(3)
    elif kind == "parsed":
        dict(request.form)


def mutated_then_forwarded(request: Request, kind: str):
    mutate(request, kind)
    return PROXY.forward(request)


def mutated_then_seen(request: Request, kind: str):
    mutate(request, kind)
    new = Request(request.method, request.path, request.headers, request.get_data())
    return {
        "body": request.get_data().decode("latin-1"),
        "again": new.get_data().decode("latin-1"),
    } | seen(request)


def forwarded_with_a_path(request: Request):
    return PROXY.forward(request, "/other%2Fpath", headers=request.headers)


def forwarded_with_fields(request: Request):
    headers = Headers(request.headers)
    headers["X-One"] = "edited"
    headers["Host"] = "edited.example"
    return PROXY.forward(request, "other", headers)


def forwarded_anew(request: Request):
    """A request made by hand, as programs make them to forward something else."""
    new = Request("POST", "/made/by hand", {"X-One": "1", "Content-Type": "text/x"}, "bödy")
    return PROXY.forward(new)


def forwarded_anew_raw(request: Request):
    new = Request(
        "GET",
        "/a/b",
        {"X-One": "1"},
        query_string="a=%20",
        raw_path="/a%2Fb",
        remote_addr="10.0.0.1",
    )
    return PROXY.forward(new, headers={"X-Two": "2"})


def in_a_session(request: Request):
    with requests.Session() as session:
        session.headers["X-Session"] = "mine"
        with SimpleRequestsClient(session) as client:
            return client.request(request, ORIGIN)


def in_no_session(request: Request):
    with SimpleRequestsClient(follow_redirects=False) as client:
        return client.request(request, ORIGIN)


class Client(SimpleRequestsClient):
    def request(self, request, server=None):
        request.headers["X-Client"] = str(server == ORIGIN)
        return super().request(request, server)


class Prefixed(Proxy):
    def request(self, request, server=None):
        response = super().request(request, server)
        response.headers["X-Subclass"] = "request"
        return response

    def forward(self, request, forward_path=None, headers=None):
        response = super().forward(request, "/prefix" + (forward_path or ""), headers)
        response.headers["X-Subclass"] = "forward"
        return response


class Handler(ProxyHandler):
    def __call__(self, request, **kwargs):
        kwargs["path"] = "handled/" + kwargs["path"]
        response = super().__call__(request, **kwargs)
        response.data = response.data.upper()
        return response


def by_a_proxy_of_ones_own(request: Request):
    return Prefixed(ORIGIN).forward(request, "/x")


def by_a_proxy_of_ones_own_asked(request: Request):
    return Prefixed(ORIGIN).request(request)


def by_a_client_of_ones_own(request: Request):
    return Proxy(ORIGIN + "/base", client=Client()).forward(request, "/x")


def without_preserving_the_host(request: Request):
    return Proxy(ORIGIN, preserve_host=False).forward(request)


def by_the_function(request: Request):
    return forward(request, ORIGIN, "/by/function", {"X-One": "function"})


def by_make_request(request: Request):
    return make_request(Request("GET", "/made", {"Host": ORIGIN[7:], "X-One": "1"}))


FORWARDS = [
    forwarded_with_a_path,
    forwarded_with_fields,
    forwarded_anew,
    forwarded_anew_raw,
    in_a_session,
    in_no_session,
    by_a_proxy_of_ones_own,
    by_a_proxy_of_ones_own_asked,
    by_a_client_of_ones_own,
    without_preserving_the_host,
    by_the_function,
    by_make_request,
]


def routes() -> Router:
    router = Router(handler_dispatcher())
    router.add("/echo/<path:path>", echo)
    router.add("/echo", echo)
    for function in (form, stream, payload, fields, pieces, fails, conflicts, missing, typed):
        router.add(f"/{function.__name__}", function)
    router.add("/fails_late", fails_late)
    router.add("/typed_default", typed_default)
    router.add("/status/<int:status>", status)
    router.add("/none", lambda request: None)
    router.add("/text", lambda request: "text ä")
    router.add("/bytes", lambda request: b"\x00\xff")
    router.add("/list", lambda request: [1, {"a": None}])
    router.add("/strange", lambda request: object())
    router.add("/redirect", lambda request: redirect("/elsewhere?x=1"))
    router.add("/get-only", lambda request: "get", methods=["GET"])
    router.add("/headed", lambda request: "get", methods=["GET"])
    router.add("/headed", lambda request: Response(headers={"X-Head": "1"}), methods=["HEAD"])
    router.add("/seg/<a>/<b>", lambda request, a, b: [a, b])
    router.add("/tail/<a>/<path:b>", lambda request, a, b: [a, b])
    router.add('/re/<regex("[a-c]+"):x>', lambda request, x: x)
    router.add("/slash/", lambda request: "slash")
    router.add("/host", lambda request, port: ["named host", port], host="named.example<port:port>")
    router.add("/host", lambda request: "any host")
    router.add(WithHost("<bucket>.store.example", [RuleAdapter("/in", in_store)]))
    router.add([Things(), Resource("/methods", Methods())])
    router.add("/proxy", ProxyHandler(ORIGIN))
    router.add("/proxy/<path:path>", ProxyHandler(ORIGIN))
    router.add("/dead/<path:path>", ProxyHandler("http://127.0.0.1:9"))
    router.add("/forward/<path:path>", forward_with_session)
    router.add("/routes/<what>", change_routes)
    router.add("/mutate/<kind>", mutated_then_forwarded)
    router.add("/mutated/<kind>", mutated_then_seen)
    for function in FORWARDS:
        router.add(f"/by/{function.__name__}", function)
    router.add("/by/handler/<path:path>", Handler(ORIGIN))
    for path in ("echo", "unanswered", "closes", "fails", "rejects", "headers", "listens"):
        router.add(f"/ws/{path}", globals()[f"ws_{path}"], methods=["WEBSOCKET"])
    router.add("/ws/arg/<name>", ws_argument, methods=["WEBSOCKET"])
    return router


def in_store(request: Request, bucket: str):
    return bucket


# Websockets -----------------------------------------------------------------------------------


def ws_echo(request):
    with request.accept() as ws:
        for message in ws:
            ws.send(message)


def ws_argument(request, name):
    with request.accept(subprotocol="chat") as ws:
        ws.send(json.dumps([name, request.path, request.query_string.decode()]))


def ws_unanswered(request):
    return None


def ws_closes(request):
    ws = request.accept()
    ws.send("bye")
    ws.close(4001, "as agreed")


def ws_fails(request):
    with request.accept():
        raise ValueError("on purpose")


def ws_rejects(request):
    request.reject(Response("not you", status=403, headers={"X-Why": "because"}))


def ws_headers(request):
    with request.accept(headers=Headers([("X-Accepted", "yes")])) as ws:
        ws.send(json.dumps({"x-one": request.headers.get("x-one"), "method": request.method}))


CLOSED = []


def ws_listens(request):
    ws = request.accept()
    try:
        while True:
            ws.receive()
    except WebSocketDisconnectedError as exc:
        CLOSED.append([exc.code, ws.close_code])


# The chain ------------------------------------------------------------------------------------


class Context(RequestContext):
    tags: list


class Chain(HandlerChain[Context]):
    pass


def tag(chain: HandlerChain, context: Context, response: Response):
    context.tags = ["first"]
    if "X-Replace" in context.request.headers:
        context.request.headers["X-One"] = "replaced"
        context.request.environ["PATH_INFO"] = "/echo/replaced"


def short_cuts(chain: HandlerChain, context: Context, response: Response):
    path = context.request.path
    if path == "/chain/respond":
        chain.respond(202, {"tags": context.tags}, {"X-Responded": "1"})
    elif path == "/chain/none":
        chain.respond(204)
    elif path == "/chain/stream":
        chain.respond(200, iter([b"a", b"b"]))
    elif path == "/chain/stop":
        response.set_response("stopped")
        chain.stop()
    elif path == "/chain/terminate":
        response.set_response("terminated")
        chain.terminate()
    elif path == "/chain/throw":
        chain.throw(ValueError("thrown"))
    elif path == "/chain/conflict":
        raise Conflict("in the chain")
    elif path == "/chain/fails":
        raise ValueError("in the chain")
    elif path == "/chain/closed":
        chain.respond(200, CLOSED)
    elif path == "/chain/zero":
        response.status_code = 0
    elif path == "/chain/old":
        response.update_from(OLD.dispatch(context.request))
        chain.stop()


# Routers of a program's own -----------------------------------------------------------------------


class Upper(BaseConverter):
    regex = "[A-Z]+"

    def to_python(self, value: str) -> str:
        return f"upper {value}"


class Factory(RuleFactory):
    """Makes rules as programs do."""

    def get_rules(self, map):
        for name in ("one", "two"):
            yield Rule(f"/own/factory/{name}/<rest>", endpoint=(name, "factory"))


class Own(Router):
    def dispatch(self, request):
        response = super().dispatch(request)
        response.headers["X-Router"] = type(self).__name__
        return response


def own_dispatcher(request: Request, endpoint, args) -> Response:
    return Response(json.dumps([endpoint, dict(args)]), mimetype="application/json")


OWN = Own(dispatcher=own_dispatcher, converters={"upper": Upper})
OWN.add("/own/plain/<int:number>", "an endpoint that is no function")
OWN.add("/own/conv/<upper:word>", "converted")
OWN.add(Factory())
OWN.add_rule(Rule("/own/rule", endpoint="a rule", methods=["POST"], host="example.org"))
OWN.url_map.converters["late"] = Upper
OWN.add("/own/late/<late:word>", "converted late")

ADDED: list = []


def change_routes(request: Request, what: str):
    """Add and remove routes while serving."""
    if what == "add":
        ADDED.append(OWN.add("/own/added", "added"))
    elif what == "group":
        ADDED.append(OWN.add([RuleAdapter("/own/g/1", "1"), RuleAdapter("/own/g/2", "2")]))
    else:
        OWN.remove(ADDED.pop())
    return [type(each).__name__ for each in ADDED]


OLD = Router()
OLD.add("/chain/old", old_style)


def stamp(chain: HandlerChain, context: Context, response: Response):
    response.headers["X-Stamp"] = ",".join(context.tags)


class Sized(Gateway):
    def new_chain(self):
        return Chain(
            self.request_handlers, self.response_handlers, self.finalizers, self.exception_handlers
        )


def gateway() -> Gateway:
    both = CompositeHandler()
    both.append(tag)
    both.append(short_cuts)
    return Sized(
        [both, RouterHandler(OWN), RouterHandler(routes(), respond_not_found=True)],
        [stamp, EmptyResponseHandler(404, b"nothing here")],
        [],
        [WerkzeugExceptionHandler()],
        Context,
    )


# Serving, as programs do it themselves ----------------------------------------------------------


def on_hypercorn() -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    from rolo.gateway.asgi import AsgiGateway

    config = Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    config.h11_pass_raw_headers = True
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()
    whenever_over(lambda: loop.call_soon_threadsafe(stopped.set))
    app = AsgiGateway(gateway(), event_loop=loop)
    loop.run_until_complete(serve(app, config, shutdown_trigger=stopped.wait))


def on_werkzeug() -> None:
    from werkzeug.serving import make_server

    from rolo.gateway.wsgi import WsgiGateway

    server = make_server("127.0.0.1", PORT, WsgiGateway(gateway()), threaded=True)
    whenever_over(server.shutdown)
    server.serve_forever()


def on_twisted() -> None:
    from twisted.internet import reactor

    from rolo.serving.twisted import TwistedGateway

    reactor.listenTCP(PORT, TwistedGateway(gateway()), interface="127.0.0.1")
    whenever_over(lambda: reactor.callFromThread(reactor.stop))
    reactor.run(installSignalHandlers=False)


def whenever_over(stop) -> None:
    def wait() -> None:
        sys.stdin.read()
        stop()

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    {"hypercorn": on_hypercorn, "werkzeug": on_werkzeug, "twisted": on_twisted}[SERVER]()
