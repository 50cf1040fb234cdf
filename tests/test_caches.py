"""What is remembered to be quick: bounded, whatever peers make up, and never another's."""

import asyncio
import ipaddress
import threading
import types

import pytest

from rolo.portal.portal import LoopScope, Portal
from rolo.proxy import ForwardedPolicy, Timeouts, Tls
from rolo.proxy import client as client_module
from rolo.proxy.client import ForwardingClient
from rolo.upstream import blocking_transport, dial
from rolo.upstream.blocking_transport import SyncTransport
from rolo.upstream.dial import Dialer
from rolo.wire import fields, hop_by_hop, http1, reserved_fields
from rolo.wire.target import Origin

# --- names that peers make up -----------------------------------------------------------

LONG = b"X" * 65


def test_names_that_were_written_once_are_remembered_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(http1, "_known_names", known := set())
    monkeypatch.setattr(http1, "_MAX_KNOWN_NAMES", 3)
    for name in [b"A", LONG, LONG[:64], b"B", b"C", b"D"]:
        for _ in range(2):
            assert b"\r\n%b: 1\r\n" % name in http1.encode_response_head(200, b"", [(name, b"1")])
    assert known == {b"A", LONG[:64], b"B"}
    for _ in range(2):
        with pytest.raises(ValueError, match="illegal field name"):
            http1.encode_response_head(200, b"", [(b"a b", b"1")])
    assert len(known) == 3


@pytest.mark.parametrize(
    ("cache", "look"),
    [
        (
            "_plain_in_requests",
            lambda names: reserved_fields.request_fields(
                [(b"Host", b"h"), *((name, b"1") for name in names)], chunked=False
            ),
        ),
        (
            "_plain_in_answers",
            lambda names: reserved_fields.answer_fields(
                [(name, b"1") for name in names], None, bodiless=False
            ),
        ),
    ],
)
def test_plain_names_are_remembered_up_to_a_bound_and_those_that_matter_never(
    monkeypatch, cache, look
):
    monkeypatch.setattr(reserved_fields, cache, known := set())
    monkeypatch.setattr(reserved_fields, "_MAX_PLAIN_NAMES", 4)
    names = [b"A", LONG, LONG[:64], b"trailer"]
    for _ in range(2):
        look(names)
    assert {b"A", LONG[:64]} <= known
    assert not known & {LONG, b"Connection", b"Transfer-Encoding"}
    look([b"B", b"C", b"D"])
    assert len(known) == 4


def test_the_case_of_a_name_is_each_callers_own():
    for name in ("X-One", "x-one", "X-ONE"):
        assert fields._names(name) == (name.encode(), b"x-one")
    before = fields._known_names.cache_info().currsize
    long = "X" * 65
    assert fields._names(long) == (long.encode(), long.lower().encode())
    assert fields._known_names.cache_info().currsize == before
    assert fields._known_names.cache_info().maxsize == 512


def test_what_connection_names_is_remembered_if_it_is_short():
    cache = hop_by_hop._known_options
    assert cache.cache_info().maxsize == 256
    cache.cache_clear()  # one that is full does not grow
    for size, more in [(64, 1), (65, 0)]:
        name = b"z" * size
        before = cache.cache_info().currsize
        passed = hop_by_hop.end_to_end([(b"Connection", name), (name, b"1"), (b"A", b"2")])
        assert passed == [(b"A", b"2")]
        assert cache.cache_info().currsize == before + more


# --- clients and policies ---------------------------------------------------------------


def test_whom_a_policy_believes_is_its_own():
    ours, theirs = ForwardedPolicy.trusting("10.0.0.0/8"), ForwardedPolicy.trusting("11.0.0.0/8")
    for _ in range(2):
        assert (ours.believes("10.1.1.1"), theirs.believes("10.1.1.1")) == (True, False)
        assert (ours.believes("11.1.1.1"), theirs.believes("11.1.1.1")) == (False, True)
    assert ours == ForwardedPolicy.trusting("10.0.0.0/8")
    for nobody in ("", None):  # a client on a UNIX socket
        assert (ours.believes(nobody), ForwardedPolicy().believes(nobody)) == (False, True)


def test_as_many_clients_are_remembered_as_the_bound_says():
    policy = ForwardedPolicy(trusted=(ipaddress.ip_network("10.0.0.0/8"),))
    for number in range(4096):
        assert policy.believes(str(ipaddress.ip_address(0x0A000000 + number)))
    assert len(policy._known) == 4096
    assert policy.believes("10.0.0.1")
    assert len(policy._known) == 4096
    assert not policy.believes("11.0.0.1")
    assert len(policy._known) == 1
    assert not policy.believes("x" * 65)
    assert not policy.believes("x" * 64)
    assert set(policy._known) == {"11.0.0.1", "x" * 64}


def test_each_client_has_one_transport_for_each_loop_and_closes_it(monkeypatch):
    made = []

    class Transport:
        def __init__(self, **settings):
            self.settings, self.closed = settings, 0
            made.append(self)

        async def send(self, request, on_interim=None):
            return types.SimpleNamespace(headers=[], body=None, transport=self)

        async def close(self):
            self.closed += 1

    async def main():
        scopes = [LoopScope(asyncio.get_running_loop(), threading.get_ident()) for _ in range(2)]
        timeouts, tls = Timeouts(idle=7), Tls(insecure=True)
        first, second = ForwardingClient(timeouts=timeouts, tls=tls), ForwardingClient()
        used = []
        for client in (first, second):
            for scope in (*scopes, *scopes):
                portal = Portal(scope)
                answer = await portal.run_in_greenlet(client.send, None, portal)
                used.append(answer.transport)
        assert [made.index(each) for each in used] == [0, 1, 0, 1, 2, 3, 2, 3]
        assert made[0].settings["timeouts"] is timeouts
        assert made[0].settings["tls"] is tls
        assert made[2].settings["tls"] == Tls()
        first.close()
        for _ in range(3):
            await asyncio.sleep(0)
        assert [each.closed for each in made] == [1, 1, 0, 0]
        for scope in scopes:
            await scope.close()
        assert [each.closed for each in made] == [1, 1, 1, 1]
        second.close()

    monkeypatch.setattr(client_module, "LoopTransport", Transport)
    asyncio.run(main())


def test_pools_of_origins_that_nobody_uses_any_more_are_dropped_when_there_are_many(monkeypatch):
    monkeypatch.setattr(blocking_transport, "_MANY_POOLS", 2)
    with SyncTransport() as transport:
        origins = [Origin("http", f"origin{number}", 80) for number in range(4)]
        pools = [transport._new_pool(origin) for origin in origins[:2]]
        pools[0]._dialling = 1  # somebody is at it
        transport._new_pool(origins[2])
        assert list(transport._pools) == [origins[0], origins[2]]
        assert transport._new_pool(origins[0]) is pools[0]


def test_certificates_are_read_once_for_each_dialer(monkeypatch):
    read = []
    monkeypatch.setattr(dial, "tls_context", lambda tls: read.append(tls) or object())
    one, other = Dialer(Tls(ca_file="a")), Dialer(Tls(ca_file="b"))
    contexts = [dialer._tls_context() for dialer in (one, other, one, other)]
    assert contexts[:2] == contexts[2:]
    assert contexts[0] is not contexts[1]
    assert [tls.ca_file for tls in read] == ["a", "b"]
