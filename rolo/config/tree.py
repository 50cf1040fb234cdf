"""Every setting, once: its default, its bounds and what it means. Loads pydantic.

A tree is filled by the command line (and can be by anything else that has names and values);
what it means to the objects that do the work says :mod:`rolo.config.objects`. The options of
the command and its reference page are made from what stands here.
"""

from __future__ import annotations

import dataclasses
import typing as t

from annotated_types import Ge, Gt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rolo.bridge.limits import DEFAULT_LIMITS
from rolo.config.values import (
    ADDRESS,
    FILE,
    LIST,
    NAME,
    NETWORKS,
    NUMBER,
    PACE,
    SIZE,
    TIME,
    UPSTREAM,
    VIA,
    Address,
    Network,
)
from rolo.upstream.settings import DEFAULT_WEBSOCKET_SETTINGS, PoolLimits, Timeouts

_TIMEOUTS = Timeouts()
_POOL = PoolLimits()

_Positive = t.Annotated[float, Gt(0)]
_AtLeastOne = t.Annotated[int, Ge(1)]
Time = t.Annotated[_Positive, TIME]
TimeOrNone = t.Annotated[_Positive | None, TIME]
Size = t.Annotated[_AtLeastOne, SIZE]
SizeOrNone = t.Annotated[_AtLeastOne | None, SIZE]
Number = t.Annotated[_AtLeastOne, NUMBER]
NumberOrNone = t.Annotated[_AtLeastOne | None, NUMBER]
File = t.Annotated[str | None, FILE]
Name = t.Annotated[str | None, NAME]
Names = t.Annotated[tuple[str, ...], LIST]


@dataclasses.dataclass(frozen=True)
class Option:
    """How a setting is called on the command line, where not like its field."""

    name: str
    short: str | None = None


class Clash(ValueError):
    """Settings that do not go together.

    :param text: what is wrong, with ``{}`` for the name of each
    :param names: of the fields, in the section that raises it
    """

    def __init__(self, text: str, *names: str) -> None:
        super().__init__(text.format(*names))
        self.text = text
        self.names = names


class Section(BaseModel):
    """A part of the tree."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    title: t.ClassVar[str] = ""
    """What its settings are about, as a heading."""
    note: t.ClassVar[str] = ""
    """What is to be known of all of them; empty if nothing."""

    def need(self, name: str, other: str) -> None:
        """:raises Clash: ``name`` is set, and ``other`` is not"""
        if getattr(self, name) and not getattr(self, other):
            raise Clash("{} needs {}", name, other)

    def exclude(self, name: str, other: str) -> None:
        """:raises Clash: both are set"""
        if getattr(self, name) and getattr(self, other):
            raise Clash("{} and {} exclude each other", name, other)


class RequestsConfig(Section):
    """Which requests and fields go on, and as what."""

    title = "requests"

    preserve_host: bool = Field(
        default=True, description="forward the client's Host instead of the upstream's"
    )
    underscores_in_headers: bool = Field(
        default=False,
        description="forward fields with underscores in their names, but for those that would "
        "pass for X-Forwarded-For and the like",
    )
    refuse_dot_segments: bool = Field(
        default=False,
        description="answer 400 to paths with . or .. segments, encoded ones too, instead of "
        "forwarding them as they came",
    )
    proxy_status: bool = Field(
        default=False,
        description="name the kind of error in Proxy-Status (RFC 9209) where we answer ourselves",
    )


class ForwardedConfig(Section):
    """Which fields say where a request came from."""

    title = "what the upstream is told of the client"

    mode: t.Annotated[t.Literal["append", "replace", "off"], Option("forwarded")] = Field(
        default="append",
        description="X-Forwarded-* fields: append to what the client says, replace it, or leave "
        "everything as it came",
    )
    trusted: t.Annotated[tuple[Network, ...], NETWORKS, Option("trusted-proxies")] = Field(
        default=(),
        description="append only to what comes from these networks, replace what others say; "
        "none appends to everything",
    )
    header: t.Annotated[bool, Option("forwarded-header")] = Field(
        default=False, description="write Forwarded (RFC 7239) as well"
    )
    via: t.Annotated[str | None, VIA] = Field(
        default=None, description="add this name to Via; none adds nothing"
    )


class TimeoutsConfig(Section):
    """How long the upstream, and a client within a body, may take."""

    title = "timeouts"
    note = "in seconds, or with ms, s, m, h: 30s"

    connect: t.Annotated[TimeOrNone, Option("connect-timeout")] = Field(
        default=_TIMEOUTS.connect, description="time to connect, all addresses and TLS included"
    )
    response: t.Annotated[TimeOrNone, Option("response-timeout")] = Field(
        default=_TIMEOUTS.response,
        description="time from the end of a request to the head of its answer",
    )
    idle: t.Annotated[TimeOrNone, Option("idle-timeout")] = Field(
        default=_TIMEOUTS.idle, description="time without a byte moving in a body"
    )


class TlsConfig(Section):
    """How an ``https`` upstream is verified."""

    title = "TLS to the upstream"

    ca_file: File = Field(
        default=None, description="PEM file of trusted roots instead of the system's"
    )
    client_cert: File = Field(
        default=None, description="PEM file of a client certificate, with its chain"
    )
    client_key: File = Field(
        default=None, description="PEM file of its key, if the certificate's file does not hold it"
    )
    server_name: t.Annotated[Name, Option("tls-server-name")] = Field(
        default=None, description="name for SNI and verification instead of the host of UPSTREAM"
    )
    insecure: bool = Field(default=False, description="do not verify the upstream's certificate")

    @model_validator(mode="after")
    def _together(self) -> t.Self:
        self.need("client_key", "client_cert")
        self.exclude("insecure", "ca_file")
        return self


class LimitsConfig(Section):
    """How much clients may ask, and how much is held."""

    title = "limits"
    note = "sizes in bytes, or with k, m, g: 64k"

    max_head: Size = Field(
        default=DEFAULT_LIMITS.max_head, description="size of a request head, else 431"
    )
    max_fields: Number = Field(
        default=DEFAULT_LIMITS.max_fields, description="header fields of a request, else 431"
    )
    max_target: Size = Field(
        default=DEFAULT_LIMITS.max_target, description="size of a request target, else 414"
    )
    max_body: SizeOrNone = Field(
        default=DEFAULT_LIMITS.max_body, description="size of a request body, else 413"
    )
    max_exchanges: NumberOrNone = Field(
        default=DEFAULT_LIMITS.max_exchanges, description="exchanges at once, else 503"
    )
    max_queued: NumberOrNone = Field(
        default=DEFAULT_LIMITS.max_queued,
        description="requests that wait for a thread in threads mode, else 503",
    )
    max_connections: NumberOrNone = Field(
        default=_POOL.max_connections,
        description="connections to the upstream; a request over it waits",
    )
    buffer: Size = Field(
        default=DEFAULT_LIMITS.buffer,
        description="bytes of a body held for a slow reader, each way",
    )


class WebSocketsConfig(Section):
    """How websockets are relayed."""

    title = "websockets"
    note = "none of the timeouts above ends one"

    idle_timeout: t.Annotated[TimeOrNone, Option("websocket-idle-timeout")] = Field(
        default=DEFAULT_WEBSOCKET_SETTINGS.idle_timeout,
        description="time without a message in either direction",
    )
    ping_interval: t.Annotated[TimeOrNone, Option("websocket-ping-interval")] = Field(
        default=DEFAULT_WEBSOCKET_SETTINGS.ping_interval,
        description="time of silence after which either side is sent a ping",
    )
    ping_timeout: t.Annotated[Time, Option("websocket-ping-timeout")] = Field(
        default=DEFAULT_WEBSOCKET_SETTINGS.ping_timeout,
        description="time for the answer to a ping, else that side counts as lost",
    )
    close_timeout: t.Annotated[Time, Option("websocket-close-timeout")] = Field(
        default=DEFAULT_WEBSOCKET_SETTINGS.close_timeout,
        description="time for the answer to a close",
    )
    max_message: SizeOrNone = Field(
        default=DEFAULT_WEBSOCKET_SETTINGS.max_message,
        description="size of one message, inflated, else a close with 1009",
    )
    max_memory: t.Annotated[SizeOrNone, Option("max-websocket-memory")] = Field(
        default=DEFAULT_WEBSOCKET_SETTINGS.max_memory,
        description="bytes of messages that all websockets of a process hold; beyond that those "
        "that hold most are closed with 1013",
    )
    compression: t.Annotated[bool, Option("websocket-compression")] = Field(
        default=DEFAULT_WEBSOCKET_SETTINGS.compression,
        description="offer permessage-deflate to the upstream; clients get it where the server "
        "has it",
    )


class ServingConfig(Section):
    """Where and how clients are served."""

    title = "serving"

    listen: t.Annotated[Address, ADDRESS] = Field(
        default=Address("127.0.0.1", 8080),
        description="where to listen; without a host on all addresses, port 0 takes a free one",
    )
    server: t.Literal["auto", "native", "hypercorn", "uvicorn", "granian", "twisted"] = Field(
        default="auto", description="what serves; auto takes the fastest"
    )
    mode: t.Literal["loop", "threads"] = Field(default="loop", description="where handlers run")
    shutdown_timeout: TimeOrNone = Field(
        default=10.0, description="time that running exchanges get when stopping"
    )


class LogConfig(Section):
    """What is said while the command runs."""

    title = "log"

    access: t.Annotated[bool | None, Option("access-log")] = Field(
        default=None, description="one line per exchange on standard output; yes unless quiet"
    )
    quiet: t.Annotated[bool, Option("quiet", "-q")] = Field(
        default=False, description="say errors only"
    )
    verbose: t.Annotated[bool, Option("verbose", "-v")] = Field(
        default=False, description="say everything"
    )

    @property
    def writes_access(self) -> bool:
        """Whether there is an access log."""
        return not self.quiet if self.access is None else self.access

    @model_validator(mode="after")
    def _together(self) -> t.Self:
        self.exclude("quiet", "verbose")
        return self


class CommandConfig(Section):
    """What all commands that serve have; all there is to set of ``rolo demo``."""

    serving: ServingConfig = Field(default_factory=ServingConfig)
    log: LogConfig = Field(default_factory=LogConfig)


class ForwardingConfig(CommandConfig):
    """What all commands have that forward to an upstream."""

    upstream: t.Annotated[str, UPSTREAM] = Field(
        description="base URL to forward to: http://HOST:PORT/PATH"
    )
    requests: RequestsConfig = Field(default_factory=RequestsConfig)
    forwarded: ForwardedConfig = Field(default_factory=ForwardedConfig)
    timeouts: TimeoutsConfig = Field(default_factory=TimeoutsConfig)
    tls: TlsConfig = Field(default_factory=TlsConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    websockets: WebSocketsConfig = Field(default_factory=WebSocketsConfig)


class InspectorConfig(Section):
    """Whether and how what passes is shown."""

    title = "inspector"
    note = "whoever has the URL of its page sees what passes, and can change it"

    on: t.Annotated[bool, Option("inspect")] = Field(
        default=False, description="show what passes, live, in a browser"
    )
    listen: t.Annotated[Address, ADDRESS, Option("inspect-listen")] = Field(
        default=Address("127.0.0.1", 0), description="where its page is served"
    )
    memory: t.Annotated[Size, Option("inspect-memory")] = Field(
        default=64 * 1024 * 1024, description="bytes that may be remembered; the oldest go first"
    )
    directory: t.Annotated[File, Option("inspect-dir")] = Field(
        default=None,
        description="folder for bodies above 1m, which are cut otherwise; else nothing goes to "
        "the disk",
    )
    secrets: t.Annotated[Names, Option("inspect-secret")] = Field(
        default=(),
        description="fields whose values are masked, beside Authorization, cookies and the like",
    )


class ProxyConfig(ForwardingConfig):
    """All settings of ``rolo proxy``."""

    script: File = Field(
        default=None, description="rewrite traffic by the hooks that this Python file defines"
    )
    reload: bool = Field(default=False, description="load the script again whenever it has changed")
    workers: Number = Field(default=1, description="processes")
    inspector: InspectorConfig = Field(default_factory=InspectorConfig)

    @model_validator(mode="after")
    def _together(self) -> t.Self:
        self.need("reload", "script")
        if self.inspector.on and self.workers > 1:
            raise Clash("{} shows one process: not with several workers", "inspector.on")
        return self


class RedactionConfig(Section):
    """What is a secret, beside the fields that always are."""

    title = "secrets"
    note = "what is replaced by REDACTED, beside Authorization, cookies and the like"

    headers: t.Annotated[Names, Option("redact-header")] = Field(
        default=(), description="fields of heads"
    )
    query: t.Annotated[Names, Option("redact-query")] = Field(
        default=(), description="query parameters"
    )
    json_paths: t.Annotated[Names, Option("redact-json")] = Field(
        default=(), description="values of JSON by path: $.user.password, $..token in any depth"
    )
    form: t.Annotated[Names, Option("redact-form")] = Field(
        default=(), description="fields of forms"
    )


class RecordConfig(ForwardingConfig):
    """All settings of ``rolo record``."""

    file: t.Annotated[str, FILE] = Field(
        description="where the recording is written when the command is stopped: a HAR file, or "
        "with .zip at its end one with everything in it"
    )
    redaction: RedactionConfig = Field(default_factory=RedactionConfig)


class ReplayConfig(CommandConfig):
    """All settings of ``rolo replay``."""

    file: t.Annotated[str, FILE] = Field(
        description="the recording: of this program, Chrome, Playwright or mitmproxy"
    )
    pace: t.Annotated[str | float, PACE] = Field(
        default="recorded",
        description="when things are sent: as recorded, at-once, or with times multiplied by a "
        "factor",
    )
    match: t.Annotated[tuple[str, ...], LIST] = Field(
        default=("method", "path", "query"),
        description="what makes a request the recorded one: method, host, path, query, body, or "
        "a part: query:page, header:X-Tenant, cookie:lang, json:$.id, form:name",
    )
    repeat: t.Literal["last", "never", "again"] = Field(
        default="last",
        description="what a request gets whose recorded answers have all been given: the last "
        "one again, none, or all again",
    )


class InspectConfig(Section):
    """All settings of ``rolo inspect``."""

    file: t.Annotated[str, FILE] = Field(
        description="the recording to look at: of this program, Chrome, Playwright or mitmproxy"
    )
    listen: t.Annotated[Address, ADDRESS] = Field(
        default=Address("127.0.0.1", 0), description="where the page is served"
    )
    log: LogConfig = Field(default_factory=LogConfig)


class MockConfig(Section):
    """All settings of ``rolo mock``."""

    file: t.Annotated[str, FILE] = Field(
        description="what is answered: a Python file that defines stubs(api), or a file or a "
        "folder of WireMock's JSON mappings"
    )
    listen: t.Annotated[Address, ADDRESS] = Field(
        default=Address("127.0.0.1", 8080),
        description="where to listen; without a host on all addresses, port 0 takes a free one",
    )
    seed: NumberOrNone = Field(
        default=None, description="makes what is drawn by chance the same again"
    )
    log: LogConfig = Field(default_factory=LogConfig)


TREES: dict[str, type[CommandConfig] | type[InspectConfig] | type[MockConfig]] = {
    "proxy": ProxyConfig,
    "record": RecordConfig,
    "replay": ReplayConfig,
    "mock": MockConfig,
    "inspect": InspectConfig,
    "demo": CommandConfig,
}
"""The settings of each command."""
