"""What settings mean: the objects that do the work, made from a tree."""

from __future__ import annotations

import typing as t

from rolo.bridge.limits import Limits
from rolo.config.tree import (
    CommandConfig,
    ForwardingConfig,
    InspectorConfig,
    RecordConfig,
    ReplayConfig,
)
from rolo.proxy.forwarded_fields import ForwardedPolicy
from rolo.proxy.request_rules import RequestRules
from rolo.upstream.settings import PoolLimits, Timeouts, Tls, WebSocketSettings

PROXY_STATUS = "rolo"
"""What the command calls itself in Proxy-Status."""


def handler_settings(config: ForwardingConfig) -> dict[str, t.Any]:
    """Return the arguments of a :class:`~rolo.proxy.ProxyHandler`, but for its hooks."""
    return {
        "forward_base_url": config.upstream,
        "preserve_host": config.requests.preserve_host,
        "rules": request_rules(config),
        "timeouts": timeouts(config),
        "limits": pool_limits(config),
        "tls": tls(config),
        "websockets": websocket_settings(config),
        "proxy_status": proxy_status(config),
        "forwarded": forwarded_policy(config),
    }


def server_settings(config: CommandConfig) -> dict[str, t.Any]:
    """Return the arguments of :func:`~rolo.serving.serve`, but for the application, the
    socket and the server, which may be ``auto``."""
    settings: dict[str, t.Any] = {
        "mode": config.serving.mode,
        "shutdown_timeout": config.serving.shutdown_timeout,
        "access_log": config.log.writes_access,
    }
    if isinstance(config, ForwardingConfig):
        settings |= {"limits": limits(config), "proxy_status": proxy_status(config)}
    return settings


def proxy_status(config: ForwardingConfig) -> str | None:
    """Return the name for Proxy-Status; ``None`` leaves the field out."""
    return PROXY_STATUS if config.requests.proxy_status else None


def request_rules(config: ForwardingConfig) -> RequestRules:
    """Return which requests, and which of their fields, are passed on."""
    return RequestRules(
        underscores_in_headers=config.requests.underscores_in_headers,
        refuse_dot_segments=config.requests.refuse_dot_segments,
    )


def forwarded_policy(config: ForwardingConfig) -> ForwardedPolicy:
    """Return what the upstream is told of the client."""
    return ForwardedPolicy(
        mode=config.forwarded.mode,
        trusted=config.forwarded.trusted,
        forwarded=config.forwarded.header,
        via=config.forwarded.via,
    )


def timeouts(config: ForwardingConfig) -> Timeouts:
    """Return how long the upstream may take."""
    return Timeouts(
        connect=config.timeouts.connect,
        response=config.timeouts.response,
        idle=config.timeouts.idle,
    )


def tls(config: ForwardingConfig) -> Tls:
    """Return how an ``https`` upstream is verified."""
    return Tls(
        ca_file=config.tls.ca_file,
        client_cert=config.tls.client_cert,
        client_key=config.tls.client_key,
        server_hostname=config.tls.server_name,
        insecure=config.tls.insecure,
    )


def limits(config: ForwardingConfig) -> Limits:
    """Return what clients may ask, and how long they may take."""
    return Limits(
        max_head=config.limits.max_head,
        max_fields=config.limits.max_fields,
        max_target=config.limits.max_target,
        max_body=config.limits.max_body,
        max_exchanges=config.limits.max_exchanges,
        max_queued=config.limits.max_queued,
        send_timeout=config.timeouts.idle,
        buffer=config.limits.buffer,
        max_message=config.websockets.max_message,
        max_websocket_memory=config.websockets.max_memory,
        ping_interval=config.websockets.ping_interval,
        ping_timeout=config.websockets.ping_timeout,
        close_timeout=config.websockets.close_timeout,
    )


def pool_limits(config: ForwardingConfig) -> PoolLimits:
    """Return the bounds of the connections to the upstream."""
    return PoolLimits(
        max_connections=config.limits.max_connections, max_buffer=config.limits.buffer
    )


def websocket_settings(config: ForwardingConfig) -> WebSocketSettings:
    """Return how websockets are relayed."""
    return WebSocketSettings(
        idle_timeout=config.websockets.idle_timeout,
        ping_interval=config.websockets.ping_interval,
        ping_timeout=config.websockets.ping_timeout,
        close_timeout=config.websockets.close_timeout,
        max_message=config.websockets.max_message,
        max_memory=config.websockets.max_memory,
        compression=config.websockets.compression,
        buffer=config.limits.buffer,
    )


def recorder_settings(config: RecordConfig) -> dict[str, t.Any]:
    """Return the arguments of a :class:`~rolo.har.Recorder`.

    :raises ValueError: something that is no JSON path; says which
    """
    from rolo.har import Redaction

    secret = config.redaction
    return {
        "base_url": config.upstream,
        "redaction": Redaction(
            headers=secret.headers, query=secret.query, json=secret.json_paths, form=secret.form
        ),
    }


def inspector_settings(config: InspectorConfig) -> dict[str, t.Any]:
    """Return the arguments of a :class:`~rolo.inspector.Inspector`, but for the gateway."""
    return {
        "max_bytes": config.memory,
        "directory": config.directory,
        "secrets": config.secrets,
    }


def player_settings(config: ReplayConfig) -> dict[str, t.Any]:
    """Return the arguments of a :class:`~rolo.har.Player`, but for the recording."""
    pace = "at_once" if config.pace == "at-once" else config.pace
    return {"pace": pace, "match": config.match, "repeat": config.repeat}
