"""What settings look like as text."""

import math

import pytest

from rolo.config import values
from rolo.config.values import Address, read_address, read_networks, read_size, read_time


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        pytest.param("127.0.0.1:80", "127.0.0.1", 80, id="IPv4"),
        pytest.param("[::1]:8080", "::1", 8080, id="IPv6"),
        pytest.param("localhost:0", "localhost", 0, id="name, free port"),
        pytest.param(":8080", "0.0.0.0", 8080, id="every interface"),
        pytest.param("8080", "127.0.0.1", 8080, id="port only"),
        pytest.param("h:65535", "h", 65535, id="largest port"),
    ],
)
def test_addresses(text, host, port):
    assert read_address(text) == Address(host, port)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30", 30),
        ("0.5", 0.5),
        ("1e3", 1000),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("10m", 600),
        ("2h", 7200),
        ("-1", -1),
    ],
)
def test_times(text, value):
    assert math.isclose(read_time(text), value)


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("64k", 65536), ("2M", 2 << 20), ("1g", 1 << 30), ("0", 0)]
)
def test_sizes(text, value):
    assert read_size(text) == value


@pytest.mark.parametrize(
    ("read", "texts"),
    [
        (
            read_address,
            ["", "host", "host:", "host:x", "host:65536", "::1:80", "h:-1", "h:" + "9" * 5000],
        ),
        (read_time, ["", "x", "nan", "inf", "-inf", "infm", "s", "1d", "1 s x", "1e308h"]),
        (read_size, ["", "-1", "k", "1t", "1.5k", "0x10", "1 k", "9" * 5000]),
        (read_networks, ["", ",", " ", "here", "10.0.0.0/8,here"]),
        (values.read_pace, ["", "gated", "0", "-1", "inf", "nan", "1s"]),
    ],
)
def test_what_is_no_value(read, texts):
    for text in texts:
        with pytest.raises(ValueError):  # noqa: PT011 - mostly without words
            read(text)


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(values).values() if isinstance(kind, values.Kind)]
)
def test_what_is_written_reads_as_the_same_value(kind):
    examples = {
        values.TIME: [0.25, 10.0, 300.0, 1e6],
        values.SIZE: [1, 1000, 65536, 3 << 20, 5 << 40],
        values.NUMBER: [1, 1024],
        values.ADDRESS: [Address("::1", 80), Address("127.0.0.1", 0)],
        values.NETWORKS: [read_networks("10.0.0.0/8, 192.168.1.7,fd00::/8")],
        values.UPSTREAM: ["http://localhost:3000/base"],
        values.LIST: [(), ("a",), ("$.a[*]", "b")],
        values.PACE: ["recorded", "at-once", 0.1, 2.0],
    }
    for value in examples.get(kind, ["edge-1"]):
        assert kind.read(kind.written(value)) == value
