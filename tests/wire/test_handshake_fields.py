"""What the fields of a websocket's opening handshake say."""

import pytest

from rolo.wire.handshake import accept_value, extensions, is_key, subprotocols


def test_a_key_is_answered_as_in_the_specification():
    # RFC 6455 section 1.3
    assert accept_value(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("key", "valid"),
    [
        (b"dGhlIHNhbXBsZSBub25jZQ==", True),
        (b"dGhlIHNhbXBsZSBub25jZQ", False),
        (b"dGhlIHNhbXBsZSBub25j", False),
        (b"dGhlIHNhbXBsZSBub25jZQ==\xff", False),
        (b"", False),
    ],
)
def test_a_key_is_16_bytes_in_base64(key, valid):
    assert is_key(key) is valid


def test_a_list_may_stand_on_several_lines():
    fields = [
        (b"Sec-WebSocket-Protocol", b"chat , v2,"),
        (b"Sec-WebSocket-Extensions", b"one"),
        (b"sec-websocket-protocol", b"v1"),
        (b"sec-websocket-extensions", b"two; x=1"),
    ]
    assert subprotocols(fields) == ["chat", "v2", "v1"]
    assert extensions(fields) == "one, two; x=1"
    assert subprotocols([]) == []
    assert extensions([]) == ""
