"""Numbers that the text of the docs names are those of the code."""

import importlib
import pathlib
import re

import pytest

DOCS = pathlib.Path(__file__).parents[1] / "docs"

KIB, MIB = 1024, 1024**2

LIMITS, WEBSOCKETS, REWRITING = "limits-and-timeouts.md", "websockets.md", "rewriting.md"

#: By page: words that stand there, where the number is in the code, and what it is.
NUMBERS = [
    (LIMITS, "At most 64 handlers run at once", "bridge.bridge:DEFAULT_THREADS", 64),
    (LIMITS, "once it has waited for 200 ms", "portal.workers:_PATIENCE", 0.2),
    (LIMITS, "Up to 1000 threads more are started", "portal.workers:LENT_THREADS", 1000),
    (LIMITS, "end after ten seconds without work", "portal.workers:_LINGER", 10),
    (LIMITS, "and one read of 112 KiB", "upstream.connection:READ_SIZE", 112 * KIB),
    (LIMITS, "and one read of 112 KiB", "native.connection:PIPED_READ_SIZE", 112 * KIB),
    (LIMITS, "up to 240 KiB of what it has not taken", "portal.thread_reader:_ROOM", 128 * KIB),
    (LIMITS, "up to 240 KiB of what it has not taken", "bridge.thread_body:_AHEAD", 128 * KIB),
    (LIMITS, "the first 64 KiB are kept", "bridge.body_record:ALWAYS_KEPT", 64 * KIB),
    (LIMITS, "beyond its first MiB | - | - | 250 times", "wire.websocket_frames:MAX_RATIO", 250),
    (LIMITS, "beyond its first MiB | - | - | 250 times", "wire.websocket_frames:RATIO_FREE", MIB),
    ("life-of-a-request.md", "64 MiB at most", "bridge.body_record:DEFAULT_REPLAY_LIMIT", 64 * MIB),
    ("life-of-a-request.md", "above 1 MiB in a temporary file", "bridge.body_record:_MEMORY", MIB),
    (WEBSOCKETS, "250 times beyond its first MiB", "wire.websocket_frames:MAX_RATIO", 250),
    (WEBSOCKETS, "have 64 final blocks", "wire.permessage_deflate:MAX_STREAMS", 64),
    (
        WEBSOCKETS,
        "no more is inflated at once than one message or 256 KiB",
        "wire.websocket_frames:_AT_ONCE",
        256 * KIB,
    ),
    (
        WEBSOCKETS,
        "with the body read (1 MiB at most",
        "upstream.settings:WebSocketSettings().max_refusal",
        MIB,
    ),
    (WEBSOCKETS, "A message counts 64 bytes more", "wire.websocket_frames:OVERHEAD", 64),
    (WEBSOCKETS, "does not count: 4 KiB at each end", "net.websocket:_UNCOUNTED", 4 * KIB),
    (
        WEBSOCKETS,
        "with the body read (1 MiB at most",
        "upstream.settings:WebSocketSettings().max_refusal",
        MIB,
    ),
    (REWRITING, "(up to ten tries)", "proxy.hooks.context:MAX_TRIES", 10),
    (REWRITING, "the request was sent ten times", "proxy.hooks.context:MAX_TRIES", 10),
    (REWRITING, "is kept up to 64 KiB", "bridge.body_record:ALWAYS_KEPT", 64 * KIB),
    (REWRITING, "now, up to 16 MiB (`limit=`)", "proxy.hooks.editable:DEFAULT_WHOLE_LIMIT", 16 * MIB),
    (REWRITING, "up to 3 content codings", "wire.content_codings:MAX_CODINGS", 3),
    (REWRITING, "A decoder makes 64 KiB at a time", "wire.content_codings:PIECE", 64 * KIB),
    (REWRITING, "may be 250 times what came", "wire.content_codings:MAX_RATIO", 250),
    (REWRITING, "(or 16 MiB, if that is more", "wire.content_codings:RATIO_FREE", 16 * MIB),
    (REWRITING, "counts for 1 KiB besides", "wire.content_codings:_OVERHEAD", KIB),
    (REWRITING, "Lines are held up to 1 MiB", "wire.charsets:MAX_LINE", MIB),
    (REWRITING, "events up to 1 MiB", "proxy.hooks.sse:MAX_EVENT", MIB),
    (REWRITING, "on a pool of 64 threads", "portal.hook_runner:HOOK_THREADS", 64),
    ("http-support.md", "more than 4 KiB of extension", "wire.http1:_MAX_CHUNK_LINE", 4 * KIB),
    ("http-support.md", "or 16 KiB per body", "wire.http1:_MAX_CHUNK_EXTENSIONS", 16 * KIB),
    ("servers.md", "idle connections are kept for 75 seconds", "serving.uvicorn:KEEP_ALIVE", 75),
    ("servers.md", "idle connections are kept for 75 seconds", "serving.hypercorn:KEEP_ALIVE", 75),
    (
        "servers.md",
        "idle connections are kept for 75 seconds",
        "native.connection:NativeSettings().keep_alive_timeout",
        75,
    ),
    ("compatibility.md", "64 for requests, 256 for", "bridge.bridge:DEFAULT_WEBSOCKET_THREADS", 256),
]  # fmt: skip


def words_of(page):
    return re.sub(r"\s+", " ", (DOCS / page).read_text())


@pytest.mark.parametrize(("page", "words", "place", "value"), NUMBERS)
def test_a_number_in_the_docs_is_that_of_the_code(page, words, place, value):
    assert words.lower() in words_of(page).lower()
    module, _, expression = place.partition(":")
    assert eval(expression, vars(importlib.import_module(f"rolo.{module}"))) == value
