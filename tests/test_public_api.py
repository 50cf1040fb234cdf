"""The public names of rolo 0.8.9, with their parameters: programs written against them run
unchanged. New parameters may follow the old ones if they have defaults.

``...`` stands for a default that is not a literal.
"""

import ast
import importlib
import inspect
import re
import typing as t

import pytest

IMPORTABLE = {
    "rolo": "Request Resource Response Router resource route",
    "rolo.asgi": "WebSocketDisconnectedError WebSocketEnvironment WebSocketListener WebSocketProtocolError",
    "rolo.client": "get_raw_base_url get_raw_current_url get_raw_path restore_payload",
    "rolo.dispatcher": "ResultValue handler_dispatcher",
    "rolo.gateway": "CompositeExceptionHandler CompositeFinalizer CompositeHandler CompositeResponseHandler ExceptionHandler Gateway Handler HandlerChain RequestContext",
    "rolo.gateway.asgi": "ASGIAdapter ASGILifespanListener Gateway WebSocketListener WebSocketRequest WsgiGateway",
    "rolo.gateway.chain": "Request Response",
    "rolo.gateway.gateway": "ExceptionHandler Handler HandlerChain Request RequestContext Response WebSocketRequest",
    "rolo.gateway.handlers": "HandlerChain RequestContext Response Router",
    "rolo.gateway.wsgi": "Gateway Response",
    "rolo.proxy": "HttpClient SimpleRequestsClient get_raw_path restore_payload set_environment_headers",
    "rolo.request": "",
    "rolo.resource": "Resource resource",
    "rolo.response": "",
    "rolo.router": "PortConverter RegexConverter RequestArguments Router RuleAdapter RuleGroup WithHost route",
    "rolo.routing": "PortConverter RegexConverter Router RuleAdapter RuleGroup WithHost handler_dispatcher route",
    "rolo.routing.converter": "",
    "rolo.routing.handler": "Dispatcher Request RequestArguments Response ResultValue",
    "rolo.routing.pydantic": "Handler HandlerDispatcher Request RequestArguments Response",
    "rolo.routing.resource": "route",
    "rolo.routing.router": "HTTP_METHODS PortConverter RegexConverter RequestArguments RuleAdapter get_raw_path",
    "rolo.routing.rules": "",
    "rolo.serving": "",
    "rolo.serving.twisted": "Gateway WebSocketDisconnectedError WebSocketListener WebSocketProtocolError WebSocketRequest WsgiGateway",
    "rolo.testing": "",
    "rolo.testing.pytest": "ASGIAdapter ASGILifespanListener AsgiGateway Gateway HeaderPreservingHTTPChannel Router TwistedGateway WebSocketListener WsgiGateway handler_dispatcher",
    "rolo.version": "version version_tuple __version__",
    "rolo.websocket": "WebSocket WebSocketDisconnectedError WebSocketError WebSocketListener WebSocketProtocolError WebSocketRequest",
    "rolo.websocket.adapter": "",
    "rolo.websocket.errors": "",
    "rolo.websocket.request": "BytesMessage CreateConnection Message TextMessage WebSocketAdapter WebSocketDisconnectedError WebSocketListener WebSocketProtocolError",
    "rolo.websocket.websocket": "WebSocket WebSocketDisconnectedError WebSocketEnvironment WebSocketError WebSocketListener WebSocketProtocolError WebSocketRequest",
}

SURFACE = {
    "rolo.asgi": {
        "ASGIAdapter": "class",
        "ASGIAdapter.__init__": "(wsgi_app, event_loop=None, executor=None, lifespan_listener=None, websocket_listener=None)",
        "ASGIAdapter.__call__": "(scope, receive, send)",
        "ASGIAdapter.to_wsgi_environment": "(scope, receive)",
        "ASGIAdapter.handle_http": "(scope, receive, send)",
        "ASGIAdapter.to_websocket_environment": "(scope, receive, send)",
        "ASGIAdapter.handle_websocket": "(scope, receive, send)",
        "ASGIAdapter.handle_lifespan": "(scope, receive, send)",
        "ASGILifespanListener": "class",
        "ASGILifespanListener.on_startup": "()",
        "ASGILifespanListener.on_shutdown": "()",
        "ASGIWebSocketAdapter": "class",
        "ASGIWebSocketAdapter.close_timeout": "attribute",
        "ASGIWebSocketAdapter.__init__": "(scope, receive, send, loop)",
        "ASGIWebSocketAdapter.asgi_send_async": "(event)",
        "ASGIWebSocketAdapter.asgi_receive_async": "()",
        "ASGIWebSocketAdapter.wait_closed": "()",
        "ASGIWebSocketAdapter.asgi_send": "(event, timeout=None)",
        "ASGIWebSocketAdapter.asgi_receive": "(timeout=None)",
        "ASGIWebSocketAdapter.receive": "(timeout=None)",
        "ASGIWebSocketAdapter.last_received_at": "property",
        "ASGIWebSocketAdapter.send": "(event, timeout=None)",
        "ASGIWebSocketAdapter.reject": "(status_code, headers=None, body=None, timeout=None)",
        "ASGIWebSocketAdapter.accept": "(subprotocol=None, extensions=None, extra_headers=None, timeout=None)",
        "ASGIWebSocketAdapter.close": "(code=1001, reason=None, timeout=None)",
        "RawHTTPRequestEventStreamAdapter": "class",
        "RawHTTPRequestEventStreamAdapter.__init__": "(receive, event_loop=None)",
        "RawHTTPRequestEventStreamAdapter.readable": "()",
        "RawHTTPRequestEventStreamAdapter.readinto": "(buf)",
        "WsgiStartResponse": "class",
        "WsgiStartResponse.__init__": "(send, event_loop=None)",
        "WsgiStartResponse.__call__": "(status, headers, exec_info=None)",
        "WsgiStartResponse.start_response_sync": "(status, headers, exec_info=None)",
        "WsgiStartResponse.write_sync": "(data)",
        "WsgiStartResponse.write": "(data)",
        "WsgiStartResponse.close": "()",
        "create_wsgi_input": "(receive, event_loop=None)",
        "populate_wsgi_environment": "(environ, scope)",
    },
    "rolo.client": {
        "HttpClient": "class",
        "HttpClient.request": "(request, server=None)",
        "HttpClient.close": "()",
        "HttpClient.__enter__": "()",
        "SimpleRequestsClient": "class",
        "SimpleRequestsClient.session": "attribute",
        "SimpleRequestsClient.follow_redirects": "attribute",
        "SimpleRequestsClient.__init__": "(session=None, follow_redirects=True)",
        "SimpleRequestsClient.request": "(request, server=None)",
        "SimpleRequestsClient.close": "()",
        "make_request": "(request)",
    },
    "rolo.gateway.asgi": {
        "AsgiGateway": "class",
        "AsgiGateway.gateway": "attribute",
        "AsgiGateway.__init__": "(gateway, event_loop=None, threads=None, lifespan_listener=None, websocket_listener=None)",
        "AsgiGateway.__call__": "(scope, receive, send)",
        "AsgiGateway.close": "()",
    },
    "rolo.gateway.chain": {
        "CompositeExceptionHandler": "class",
        "CompositeExceptionHandler.handlers": "attribute",
        "CompositeExceptionHandler.__init__": "()",
        "CompositeExceptionHandler.append": "(handler)",
        "CompositeExceptionHandler.remove": "(handler)",
        "CompositeExceptionHandler.__call__": "(chain, exception, context, response)",
        "CompositeFinalizer": "class",
        "CompositeFinalizer.__call__": "(chain, context, response)",
        "CompositeHandler": "class",
        "CompositeHandler.handlers": "attribute",
        "CompositeHandler.__init__": "(return_on_stop=True)",
        "CompositeHandler.append": "(handler)",
        "CompositeHandler.remove": "(handler)",
        "CompositeHandler.__call__": "(chain, context, response)",
        "CompositeResponseHandler": "class",
        "CompositeResponseHandler.__init__": "()",
        "ExceptionHandler": "class",
        "ExceptionHandler.__call__": "(chain, exception, context, response)",
        "Handler": "class",
        "Handler.__call__": "(chain, context, response)",
        "HandlerChain": "class",
        "HandlerChain.request_handlers": "attribute",
        "HandlerChain.response_handlers": "attribute",
        "HandlerChain.finalizers": "attribute",
        "HandlerChain.exception_handlers": "attribute",
        "HandlerChain.stop_on_error": "attribute",
        "HandlerChain.raise_on_error": "attribute",
        "HandlerChain.stopped": "attribute",
        "HandlerChain.terminated": "attribute",
        "HandlerChain.error": "attribute",
        "HandlerChain.response": "attribute",
        "HandlerChain.context": "attribute",
        "HandlerChain.__init__": "(request_handlers=None, response_handlers=None, finalizers=None, exception_handlers=None)",
        "HandlerChain.handle": "(context, response)",
        "HandlerChain.respond": "(status_code=200, payload=None, headers=None)",
        "HandlerChain.stop": "()",
        "HandlerChain.terminate": "()",
        "HandlerChain.throw": "(error)",
        "RequestContext": "class",
        "RequestContext.request": "attribute",
        "RequestContext.__init__": "(request=None)",
        "RequestContext.get": "(key)",
        "call_safe": "(func, args=None, kwargs=None, exception_message=None)",
    },
    "rolo.gateway.gateway": {
        "Gateway": "class",
        "Gateway.request_handlers": "attribute",
        "Gateway.response_handlers": "attribute",
        "Gateway.finalizers": "attribute",
        "Gateway.exception_handlers": "attribute",
        "Gateway.__init__": "(request_handlers=None, response_handlers=None, finalizers=None, exception_handlers=None, context_class=None)",
        "Gateway.new_chain": "()",
        "Gateway.process": "(request, response)",
        "Gateway.accept": "(request)",
    },
    "rolo.gateway.handlers": {
        "EmptyResponseHandler": "class",
        "EmptyResponseHandler.status_code": "attribute",
        "EmptyResponseHandler.body": "attribute",
        "EmptyResponseHandler.headers": "attribute",
        "EmptyResponseHandler.__init__": "(status_code=404, body=None, headers=None)",
        "EmptyResponseHandler.__call__": "(chain, context, response)",
        "EmptyResponseHandler.is_empty_response": "(response)",
        "EmptyResponseHandler.populate_default_response": "(response)",
        "RouterHandler": "class",
        "RouterHandler.router": "attribute",
        "RouterHandler.respond_not_found": "attribute",
        "RouterHandler.__init__": "(router, respond_not_found=False)",
        "RouterHandler.__call__": "(chain, context, response)",
        "WerkzeugExceptionHandler": "class",
        "WerkzeugExceptionHandler.__init__": "(output_format=None)",
        "WerkzeugExceptionHandler.__call__": "(chain, exception, context, response)",
    },
    "rolo.gateway.wsgi": {
        "WsgiGateway": "class",
        "WsgiGateway.gateway": "attribute",
        "WsgiGateway.__init__": "(gateway)",
        "WsgiGateway.__call__": "(environ, start_response)",
    },
    "rolo.proxy": {
        "Proxy": "class",
        "Proxy.preserve_host": "attribute",
        "Proxy.__init__": "(forward_base_url, client=None, preserve_host=True)",
        "Proxy.request": "(request, server=None)",
        "Proxy.forward": "(request, forward_path=None, headers=None)",
        "Proxy.close": "()",
        "ProxyHandler": "class",
        "ProxyHandler.__init__": "(forward_base_url, client=None)",
        "ProxyHandler.__call__": "(request, **kwargs)",
        "ProxyHandler.close": "()",
        "forward": "(request, forward_base_url, forward_path=None, headers=None)",
    },
    "rolo.request": {
        "Request": "class",
        "Request.__init__": "(method='GET', path='', headers=None, body=None, scheme='http', root_path='/', query_string=b'', remote_addr=None, server=None, raw_path=None)",
        "Request.application": "(*args)",
        "dummy_wsgi_environment": "(method='GET', path='', headers=None, body=None, scheme='http', root_path='/', query_string=None, remote_addr=None, server=None, raw_uri=None)",
        "get_full_raw_path": "(request)",
        "get_raw_base_url": "(request)",
        "get_raw_current_url": "(scheme, host, root_path=None, path=None, query_string=None)",
        "get_raw_path": "(request)",
        "restore_payload": "(request)",
        "set_environment_headers": "(environ, headers)",
    },
    "rolo.response": {
        "Response": "class",
        "Response.update_from": "(other)",
        "Response.set_json": "(doc)",
        "Response.set_response": "(response)",
        "Response.to_readonly_response_dict": "()",
        "Response.for_json": "(doc, *args, **kwargs)",
        "Response.for_resource": "(module, path, *args, **kwargs)",
    },
    "rolo.routing.converter": {
        "PortConverter": "class",
        "PortConverter.to_python": "(value)",
        "RegexConverter": "class",
        "RegexConverter.__init__": "(map, *args, **kwargs)",
    },
    "rolo.routing.handler": {
        "Handler": "class",
        "Handler.__call__": "(request, **kwargs)",
        "HandlerDispatcher": "class",
        "HandlerDispatcher.__init__": "(json_encoder=None)",
        "HandlerDispatcher.__call__": "(request, endpoint, request_args)",
        "HandlerDispatcher.invoke_endpoint": "(request, endpoint, request_args)",
        "HandlerDispatcher.to_response": "(value)",
        "HandlerDispatcher.populate_response": "(response, value)",
        "handler_dispatcher": "(json_encoder=None)",
    },
    "rolo.routing.pydantic": {
        "PydanticHandlerDispatcher": "class",
        "PydanticHandlerDispatcher.invoke_endpoint": "(request, endpoint, request_args)",
        "PydanticHandlerDispatcher.populate_response": "(response, value)",
    },
    "rolo.routing.resource": {
        "Resource": "class",
        "Resource.__init__": "(path, obj, host=None, **kwargs)",
        "Resource.get_rules": "(map)",
        "resource": "(path, host=None, **kwargs)",
    },
    "rolo.routing.router": {
        "Dispatcher": "class",
        "Dispatcher.__call__": "(request, endpoint, args)",
        "Router": "class",
        "Router.default_converters": "attribute",
        "Router.url_map": "attribute",
        "Router.dispatcher": "attribute",
        "Router.__init__": "(dispatcher=None, converters=None)",
        "Router.add": "(*args, **kwargs)",
        "Router.add_rule": "(rule)",
        "Router.remove": "(rules)",
        "Router.dispatch": "(request)",
        "Router.route": "(path, host=None, methods=None, **kwargs)",
        "Router.wsgi": "()",
        "call_endpoint": "(request, endpoint, args)",
        "route": "(path, host=None, methods=None, **kwargs)",
    },
    "rolo.routing.rules": {
        "RuleAdapter": "class",
        "RuleAdapter.factory": "attribute",
        "RuleAdapter.get_rules": "(map)",
        "RuleGroup": "class",
        "RuleGroup.__init__": "(rules)",
        "RuleGroup.get_rules": "(map)",
        "WithHost": "class",
        "WithHost.__init__": "(host, rules)",
        "WithHost.get_rules": "(map)",
    },
    "rolo.serving.twisted": {
        "GatewayResource": "class",
        "GatewayResource.__init__": "(gateway, reactor, threadpool)",
        "HeaderPreservingHTTPChannel": "class",
        "HeaderPreservingHTTPChannel.headerReceived": "(line)",
        "HeaderPreservingHTTPChannel.writeHeaders": "(version, code, reason, headers)",
        "HeaderPreservingHTTPChannel.isSecure": "()",
        "HeaderPreservingWSGIResource": "class",
        "HeaderPreservingWSGIResource.__init__": "(reactor, threadpool, application)",
        "HeaderPreservingWSGIResource.render": "(request)",
        "HeaderPreservingWSGIResponse": "class",
        "HeaderPreservingWSGIResponse.__init__": "(reactor, threadpool, application, request)",
        "HeaderPreservingWSGIResponse.startResponse": "(status, headers, excInfo=None)",
        "PriorKnowledgeHTTPChannelProtocol": "class",
        "PriorKnowledgeHTTPChannelProtocol.dataReceived": "(data)",
        "TwistedGateway": "class",
        "TwistedGateway.__init__": "(gateway)",
        "TwistedHeaderAdapter": "class",
        "TwistedHeaderAdapter.__init__": "(*args, **kwargs)",
        "TwistedHeaderAdapter.rememberHeaderCasing": "(name)",
        "TwistedHeaderAdapter.getAllRawHeaders": "()",
        "TwistedRequestAdapter": "class",
        "TwistedRequestAdapter.requestHeaders": "attribute",
        "TwistedRequestAdapter.responseHeaders": "attribute",
        "TwistedRequestAdapter.__init__": "(*args, **kwargs)",
        "TwistedRequestHeaderAdapter": "class",
        "TwistedRequestHeaderAdapter.rememberHeaderCasing": "(name)",
        "TwistedRequestHeaderAdapter.setRawHeaders": "(name, values)",
        "TwistedRequestHeaderAdapter.removeHeader": "(name)",
        "TwistedWebSocketAdapter": "class",
        "TwistedWebSocketAdapter.channel": "attribute",
        "TwistedWebSocketAdapter.__init__": "(channel, reactor=...)",
        "TwistedWebSocketAdapter.receive": "(timeout=None)",
        "TwistedWebSocketAdapter.send": "(event, timeout=None)",
        "TwistedWebSocketAdapter.last_received_at": "property",
        "TwistedWebSocketAdapter.reject": "(status_code, headers=None, body=None, timeout=None)",
        "TwistedWebSocketAdapter.accept": "(subprotocol=None, extensions=None, extra_headers=None, timeout=None)",
        "TwistedWebSocketAdapter.close": "(code=1001, reason=None, timeout=None)",
        "WebSocketChannel": "class",
        "WebSocketChannel.eventQueue": "attribute",
        "WebSocketChannel.closeTimeout": "attribute",
        "WebSocketChannel.closeAbortTimeout": "attribute",
        "WebSocketChannel.__init__": "(request, reactor=...)",
        "WebSocketChannel.closed": "property",
        "WebSocketChannel.initiateUpgrade": "()",
        "WebSocketChannel.connectionLost": "(reason)",
        "WebSocketChannel.dataReceived": "(data)",
        "WebSocketChannel.wsSend": "(event)",
        "WebSocketChannel.wsReject": "(statusCode, extraHeaders, body=None)",
        "WebSocketChannel.wsClose": "(code=1000, reason=None)",
        "WebSocketChannel.pauseProducing": "()",
        "WebSocketChannel.resumeProducing": "()",
        "WebSocketChannel.stopProducing": "()",
        "WebSocketChannel.close": "()",
        "WebsocketResourceDecorator": "class",
        "WebsocketResourceDecorator.original": "attribute",
        "WebsocketResourceDecorator.__init__": "(original, websocketListener)",
        "WebsocketResourceDecorator.render": "(request)",
        "to_flat_header_list": "(headers)",
        "to_websocket_environment": "(request)",
        "update_wsgi_environment": "(environ, request)",
    },
    "rolo.testing.pytest": {
        "Server": "class",
        "Server.shutdown": "()",
        "ServerInfo": "class",
        "ServerInfo.url": "attribute",
        "ServerInfo.host": "attribute",
        "ServerInfo.port": "attribute",
        "get_random_tcp_port": "()",
        "is_server_up": "(srv)",
        "poll_condition": "(condition, timeout=None, interval=0.5)",
        "wait_server_is_up": "(srv, timeout=10, interval=0.1)",
    },
    "rolo.websocket.adapter": {
        "AcceptConnection": "class",
        "AcceptConnection.subprotocol": "attribute",
        "AcceptConnection.extensions": "attribute",
        "AcceptConnection.extra_headers": "attribute",
        "AcceptConnection.__init__": "(subprotocol=None, extensions=..., extra_headers=...)",
        "BytesMessage": "class",
        "BytesMessage.data": "attribute",
        "BytesMessage.__init__": "(data)",
        "CreateConnection": "class",
        "CreateConnection.__init__": "()",
        "Event": "class",
        "Message": "class",
        "Message.data": "attribute",
        "Message.__init__": "(data)",
        "TextMessage": "class",
        "TextMessage.data": "attribute",
        "TextMessage.__init__": "(data)",
        "WebSocketAdapter": "class",
        "WebSocketAdapter.accept": "(subprotocol=None, extensions=None, extra_headers=None, timeout=None)",
        "WebSocketAdapter.reject": "(status_code, headers=None, body=None, timeout=None)",
        "WebSocketAdapter.receive": "(timeout=None)",
        "WebSocketAdapter.send": "(event, timeout=None)",
        "WebSocketAdapter.close": "(code=1001, reason=None, timeout=None)",
        "WebSocketAdapter.last_received_at": "property",
        "WebSocketListener": "class",
        "WebSocketListener.__call__": "(environ)",
    },
    "rolo.websocket.errors": {
        "WebSocketDisconnectedError": "class",
        "WebSocketDisconnectedError.__init__": "(code=None, reason=None)",
        "WebSocketError": "class",
        "WebSocketProtocolError": "class",
    },
    "rolo.websocket.request": {
        "WebSocket": "class",
        "WebSocket.request": "attribute",
        "WebSocket.socket": "attribute",
        "WebSocket.close_code": "attribute",
        "WebSocket.close_reason": "attribute",
        "WebSocket.__init__": "(request, socket)",
        "WebSocket.__enter__": "()",
        "WebSocket.__iter__": "()",
        "WebSocket.send": "(text_or_bytes, timeout=None)",
        "WebSocket.receive": "()",
        "WebSocket.close": "(code=1000, reason=None, timeout=None)",
        "WebSocket.last_received_at": "property",
        "WebSocketRequest": "class",
        "WebSocketRequest.__init__": "(environ)",
        "WebSocketRequest.socket": "property",
        "WebSocketRequest.is_upgraded": "()",
        "WebSocketRequest.is_rejected": "()",
        "WebSocketRequest.reject": "(response)",
        "WebSocketRequest.accept": "(subprotocol=None, headers=None, timeout=None)",
        "WebSocketRequest.close": "()",
        "WebSocketRequest.listener": "(fn)",
    },
}

# Deep names that programs use, beyond those with a signature.
DEEP = [
    "rolo.__version__",
    "rolo.gateway.HandlerChain._call_response_handlers",
    "rolo.gateway.HandlerChain._call_finalizers",
    "rolo.gateway.HandlerChain._call_exception_handlers",
    "rolo.routing.RequestArguments",
    "rolo.routing.handler.ENABLE_PYDANTIC",
    "rolo.request.Request.max_form_memory_size",
    "rolo.request.Request._load_form_data",
    "rolo.websocket.WebSocketEnvironment",
    "rolo.websocket.errors.WebSocketDisconnectedError.default_code",
    "rolo.testing.pytest._ServerInfo",
    "rolo.testing.pytest.serve_wsgi_app",
    "rolo.testing.pytest.wsgi_router_server",
    "rolo.testing.pytest.serve_asgi_app",
    "rolo.testing.pytest.serve_asgi_adapter",
    "rolo.testing.pytest.serve_wsgi_gateway",
    "rolo.testing.pytest.serve_asgi_gateway",
    "rolo.testing.pytest.twisted_reactor",
    "rolo.testing.pytest.serve_twisted_tcp_server",
    "rolo.testing.pytest.serve_twisted_gateway",
    "rolo.testing.pytest.serve_twisted_websocket_listener",
    "rolo.serving.twisted.HeaderPreservingHTTPChannel.protocol_factory",
]


def find(module: str, name: str) -> t.Any:
    found: t.Any = importlib.import_module(module)
    for part in name.split("."):
        found = inspect.getattr_static(found, part, None) or getattr(found, part)
    return found


def parameters(signature: str) -> list[tuple[str, t.Any]]:
    """Return name and default (``empty`` without one) of each parameter, stars included."""
    (function,) = ast.parse(f"def f{signature}: ...").body
    assert isinstance(function, ast.FunctionDef)
    args = function.args
    defaults = [inspect.Parameter.empty] * (len(args.args) - len(args.defaults)) + [
        ast.literal_eval(default) for default in args.defaults
    ]
    listed = [(arg.arg, default) for arg, default in zip(args.args, defaults, strict=True)]
    stars = [
        (f"{star}{arg.arg}", inspect.Parameter.empty)
        for star, arg in (("*", args.vararg), ("**", args.kwarg))
        if arg
    ]
    return listed + stars


def rows(*kinds: str) -> list[tuple[str, str, str]]:
    return [
        (module, name, what)
        for module, members in SURFACE.items()
        for name, what in members.items()
        if what in kinds or (what.startswith("(") and "(" in kinds)
    ]


def test_names_can_be_imported():
    for module, names in IMPORTABLE.items():
        imported = importlib.import_module(module)
        assert [name for name in names.split() if not hasattr(imported, name)] == [], module


def test_classes_are_there():
    assert [row for row in rows("class") if not inspect.isclass(find(*row[:2]))] == []


def test_properties_are_there():
    assert [row for row in rows("property") if not isinstance(find(*row[:2]), property)] == []


def test_attributes_are_there():
    assert [row for row in rows("attribute") if not has_attribute(*row[:2])] == []


def has_attribute(module, name):
    class_name, attribute = name.split(".")
    cls = find(module, class_name)
    declared = any(attribute in inspect.get_annotations(each) for each in cls.__mro__)
    ours = [each for each in cls.__mro__ if each.__module__.startswith("rolo")]
    return (
        declared
        or hasattr(cls, attribute)
        or any(re.search(rf"self\.{attribute}(: .+)? = ", inspect.getsource(each)) for each in ours)
    )


@pytest.mark.parametrize("module", SURFACE)
def test_parameters(module):
    for _, name, signature in (row for row in rows("(") if row[0] == module):
        assert_takes(find(module, name), "." in name, parameters(signature), f"{module}.{name}")


def assert_takes(found, is_method, wanted, called):
    function = found.__func__ if isinstance(found, staticmethod | classmethod) else found
    actual = list(inspect.signature(function).parameters.values())[is_method:]
    if not any(each.startswith("*") and each[1] != "*" for each, _ in wanted):
        actual = [each for each in actual if each.kind is not each.VAR_POSITIONAL]
    for parameter, (wanted_name, default) in zip(actual, wanted, strict=False):
        assert str(parameter).split(":")[0].split("=")[0] == wanted_name, called
        if default is inspect.Parameter.empty:
            assert parameter.default is inspect.Parameter.empty, called
        elif default is ...:
            assert parameter.default is not inspect.Parameter.empty, called
        else:
            assert parameter.default == default, called
    assert len(actual) >= len(wanted), called
    for parameter in actual[len(wanted) :]:
        optional = parameter.default is not inspect.Parameter.empty
        assert optional or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)


def test_deep_names():
    assert [path for path in DEEP if find_path(path) is None] == []


def find_path(path):
    module, _, name = path.rpartition(".")
    if name and module.rpartition(".")[2][:1].isupper():
        module, _, owner = module.rpartition(".")
        name = f"{owner}.{name}"
    return find(module, name)


def test_decorators_are_not_replaced_by_modules():
    import rolo.dispatcher
    import rolo.resource
    import rolo.router

    assert not inspect.ismodule(rolo.resource)
    assert inspect.ismodule(rolo.routing.handler)


def test_typing_constructs():
    from rolo.gateway import HandlerChain, RequestContext
    from rolo.routing.handler import Handler
    from rolo.routing.router import Dispatcher

    assert Dispatcher[Handler]
    assert HandlerChain[RequestContext]


def named_in(annotation):
    """Return all classes that stand somewhere in ``annotation``."""
    found = {annotation} if isinstance(annotation, type) else set()
    return found.union(*map(named_in, t.get_args(annotation)))


def test_what_hooks_are_given_can_be_imported_from_the_proxy_package():
    import rolo.proxy
    from rolo.proxy import Hooks, ProxyContext

    given = named_in(t.get_type_hints(ProxyContext)["websocket"])
    for phase in vars(Hooks).values():
        if inspect.isfunction(phase):
            given |= set().union(*map(named_in, t.get_type_hints(phase).values()))
    ours = {each for each in given if each.__module__.startswith("rolo.")}
    assert len(ours) > 8
    exported = vars(rolo.proxy) | vars(rolo)
    assert {each for each in ours if exported.get(each.__name__) is not each} == set()
