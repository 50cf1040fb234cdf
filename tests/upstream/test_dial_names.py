"""Looking names up: what is remembered, for how long, and what is asked only once."""

import asyncio
import socket
import types

import pytest

from rolo.upstream import dial
from rolo.upstream.dial import Resolver


class Names:
    """The system's resolver: knows each name by how often it was asked."""

    def __init__(self):
        self.asked = []
        self.fails = False

    def __call__(self, host, port):
        self.asked.append((host, port))
        if self.fails:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, (f"10.0.0.{len(self.asked)}", port))]


def resolving(monkeypatch, test):
    """Run ``test(resolver, names, clock)``."""
    names = Names()
    monkeypatch.setattr(dial, "_lookup", names)

    async def main():
        clock = types.SimpleNamespace(now=1000.0)
        loop = asyncio.get_running_loop()
        loop.time = lambda: clock.now
        resolver = Resolver()
        try:
            await test(resolver, names, clock)
        finally:
            resolver.close()
            del loop.time

    asyncio.run(main())


def test_a_name_is_remembered_for_a_while_by_host_and_port(monkeypatch):
    async def test(resolver, names, clock):
        first = await resolver.resolve("a", 1)
        clock.now += dial._CACHE_SECONDS - 0.5
        assert await resolver.resolve("a", 1) == first
        assert names.asked == [("a", 1)]
        await resolver.resolve("a", 2)
        assert len(names.asked) == 2
        clock.now += 0.5
        assert await resolver.resolve("a", 1) != first
        assert len(names.asked) == 3

    resolving(monkeypatch, test)


def test_a_failure_is_not_remembered(monkeypatch):
    async def test(resolver, names, clock):
        names.fails = True
        for _ in range(2):
            with pytest.raises(socket.gaierror):
                await resolver.resolve("a", 1)
        names.fails = False
        assert await resolver.resolve("a", 1)
        assert len(names.asked) == 3

    resolving(monkeypatch, test)


def test_those_who_ask_at_once_share_one_answer_and_who_gives_up_takes_it_from_nobody(monkeypatch):
    async def test(resolver, names, clock):
        asking = [asyncio.create_task(resolver.resolve("a", 1)) for _ in range(3)]
        await asyncio.sleep(0)
        asking[0].cancel()
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert found[1] == found[2]
        assert names.asked == [("a", 1)]
        assert resolver._pending == {}

    resolving(monkeypatch, test)


def test_as_many_names_are_remembered_as_allowed_and_the_oldest_forgotten(monkeypatch):
    monkeypatch.setattr(dial, "_CACHE_SIZE", 2)

    async def test(resolver, names, clock):
        for host in ("a", "b"):
            await resolver.resolve(host, 1)
        clock.now += dial._CACHE_SECONDS
        await resolver.resolve("a", 1)  # learned anew, and so the youngest
        await resolver.resolve("c", 1)
        await resolver.resolve("a", 1)
        assert [host for host, _ in names.asked] == ["a", "b", "a", "c"]
        assert [host for host, _ in resolver._known] == ["a", "c"]

    resolving(monkeypatch, test)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.1.2.3", (socket.AF_INET, ("10.1.2.3", 80))),
        ("::1", (socket.AF_INET6, ("::1", 80, 0, 0))),
    ],
)
def test_an_address_is_no_name(monkeypatch, host, address):
    async def test(resolver, names, clock):
        assert await resolver.resolve(host, 80) == [address]
        assert names.asked == []

    resolving(monkeypatch, test)


def test_an_address_with_a_scope_is_for_the_system_to_translate(monkeypatch):
    async def test(resolver, names, clock):
        await resolver.resolve("fe80::1%eth0", 80)
        assert names.asked == [("fe80::1%eth0", 80)]

    resolving(monkeypatch, test)


def test_what_the_system_says_twice_is_tried_once(monkeypatch):
    first, second = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"10.0.0.{n}", 80)) for n in (1, 2)
    ]
    asked = []
    monkeypatch.setattr(
        dial.socket, "getaddrinfo", lambda *a, **k: asked.append((a, k)) or [first, second, first]
    )
    assert dial._lookup("a", 80) == [(first[0], first[4]), (second[0], second[4])]
    assert asked == [(("a", 80), {"type": socket.SOCK_STREAM})]
