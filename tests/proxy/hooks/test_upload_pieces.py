"""A request body that a hook's thread iterates, and the upstream that does not want it any more."""

import asyncio
import threading

import pytest

from rolo.errors import NoPortalError
from rolo.net.body import Upload
from rolo.portal.portal import LoopScope, Portal
from rolo.proxy.hooks.bodies import UploadPieces


class Taken(Upload):
    """A request body; ``piped`` once somebody takes it from the client."""

    def __init__(self):
        self.piped = 0

    async def pipe(self, sink):
        self.piped += 1
        sink.write(b"a")
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("begun", [False, True], ids=["before its first piece", "within it"])
def test_a_body_that_nobody_wants_any_more_is_not_taken_from_the_next_upstream(begun):
    """Else the next one would wait for a thread that waits for nobody."""
    cancelled, reached = threading.Event(), threading.Event()

    def iterate(pieces):
        taken = []
        if begun:
            taken.append(next(pieces))
        reached.set()
        assert cancelled.wait(5)
        with pytest.raises(NoPortalError):
            next(pieces)
        return taken

    async def main():
        portal = Portal(LoopScope(asyncio.get_running_loop(), threading.get_ident()))
        body = Taken()
        pieces = UploadPieces(body, portal)
        iterating = asyncio.create_task(asyncio.to_thread(iterate, pieces))
        await asyncio.to_thread(reached.wait, 5)
        pieces.cancel()
        cancelled.set()
        assert await asyncio.wait_for(iterating, 5) == ([b"a"] if begun else [])
        assert body.piped == begun

    asyncio.run(main())
