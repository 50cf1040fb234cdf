"""Recording and replaying on real sockets."""

import contextlib

import pytest

from rolo.gateway import Gateway
from rolo.har import Player, Recorder, read_har
from rolo.serving import serve


@pytest.fixture
def recorded(tmp_path):
    """Serve a handler, let a client talk to it, and return the recording, read from its file."""

    def recorded(handler, client, *, mode="threads", **options):
        recorder = Recorder(**options)
        with contextlib.ExitStack() as stack:
            if hasattr(handler, "close"):
                stack.callback(handler.close)
            client(
                stack.enter_context(serve(Gateway([handler]), observers=[recorder], mode=mode)).url
            )
        recorder.write(tmp_path / "recorded.har")
        return read_har(tmp_path / "recorded.har")

    return recorded


class Replayed:
    """Serves recordings: call it for a player and its URL."""

    def __init__(self, mode, running):
        self.mode = mode
        self.running = running
        self.recorder = Recorder()

    def __call__(self, recording, *behind, server="auto", **options):
        player = Player(recording, **options)
        gateway = Gateway([player, *behind])
        server = serve(gateway, mode=self.mode, server=server, observers=[self.recorder])
        url = self.running.enter_context(server).url
        self.running.callback(player.open)
        return player, url

    def stop(self):
        """Stop all servers: what clients did is known then."""
        self.running.close()


@pytest.fixture(params=["threads", "loop"])
def replayed(request):
    with contextlib.ExitStack() as running:
        yield Replayed(request.param, running)
