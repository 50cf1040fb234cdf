"""A body made on threads, between the loop and the one context of its exchange."""

import asyncio
import contextlib
import contextvars
import threading

from rolo.bridge.thread_body import ThreadBody
from rolo.portal.workers import WorkerPool


class EntersAtOnce:
    """A portal through which whoever is told something sends a thread into the context of the
    exchange before the telling thread can go on."""

    gone = False

    def __init__(self, loop):
        self.loop = loop
        self.context = contextvars.copy_context()
        self.entered = []

    def run_in_context(self, function, *args):
        return self.context.run(function, *args)

    def post(self, callback, *args):
        def enter():
            try:
                self.context.run(int)
            except RuntimeError as error:
                self.entered.append(str(error))
            else:
                self.entered.append("entered")

        if callback.__name__ == "_left":
            thread = threading.Thread(target=enter)
            thread.start()
            thread.join(5)
        with contextlib.suppress(RuntimeError):  # as the real one, after the loop's end
            self.loop.call_soon_threadsafe(callback, *args)

    def let_go(self):
        pass

    settle = let_go


def test_a_worker_has_left_the_context_of_its_exchange_when_the_loop_hears_of_it():
    async def main():
        portal = EntersAtOnce(asyncio.get_running_loop())
        body = ThreadBody([b"1", b"2"], lambda: None, workers, portal)
        assert [piece async for piece in body]
        body.close()
        return portal.entered

    workers = WorkerPool(2)
    try:
        assert set(asyncio.run(main())) == {"entered"}
    finally:
        workers.shutdown()
