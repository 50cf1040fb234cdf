"""Connections to origins that are lost, seen from above the socket."""

import asyncio

import pytest

from rolo.errors import SendError, UpstreamClosed
from rolo.upstream.connection import Connection
from rolo.upstream.settings import WebSocketSettings
from rolo.upstream.switched import SwitchedConnection
from rolo.upstream.websocket_connection import OpenWebSockets
from rolo.websocket import WebSocketDisconnectedError
from tests.origins import run


class Transport(asyncio.Transport):
    """Takes what is written, and goes nowhere."""

    def write(self, data):
        pass

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return False

    def abort(self):
        pass

    def set_protocol(self, protocol):
        self.protocol = protocol


def connection():
    made = Connection(asyncio.get_running_loop(), memoryview(bytearray(64)), None)
    made.connection_made(Transport())
    return made


def websocket():
    """Return an open one, and the connection below it."""
    made = connection()
    transport = made._transport
    end = OpenWebSockets().begin(SwitchedConnection(made, b""), WebSocketSettings(), None)
    return end, transport.protocol


def lose(connection):
    connection.connection_lost(ConnectionResetError())


def test_who_waits_for_the_origin_to_catch_up_hears_that_it_is_gone():
    async def test():
        slow = connection()
        slow.pause_writing()
        waiting = asyncio.create_task(slow.drained())
        await asyncio.sleep(0)
        lose(slow)
        with pytest.raises(SendError):
            await waiting
        with pytest.raises(SendError):
            await slow.drained()

    run(test)


def test_a_lost_websocket_is_the_origins_fault():
    async def test():
        _, slow = websocket()
        slow.pause_writing()
        waiting = asyncio.create_task(slow.drained())
        await asyncio.sleep(0)
        lose(slow)
        with pytest.raises(UpstreamClosed):
            await waiting

    run(test)


def test_a_message_to_a_lost_websocket_is_not_sent():
    async def test():
        end, slow = websocket()
        slow.pause_writing()
        waiting = asyncio.create_task(end.send("hello"))
        await asyncio.sleep(0)
        lose(slow)
        with pytest.raises(WebSocketDisconnectedError):
            await waiting

    run(test)
