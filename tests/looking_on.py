"""An observer that keeps what it is told, for tests to wait for."""

import queue

from rolo.observing import Ended, Observer


class Seen(Observer):
    """Every event, in order."""

    def __init__(self):
        self.queue = queue.Queue()
        self.before = []
        self.closed = False

    def told(self, event):
        self.queue.put(event)

    on_request = on_request_body = on_request_trailers = on_interim = told
    on_answer = on_answer_body = on_answer_trailers = told
    on_message = on_websocket_closed = on_end = on_missed = told

    def close(self):
        self.closed = True

    def next(self):
        return self.queue.get(timeout=5)

    def exchange(self):
        """Return the events of the next exchange that ends."""
        while True:
            event = self.next()
            self.before.append(event)
            if isinstance(event, Ended):
                mine = [each for each in self.before if each.exchange is event.exchange]
                self.before = [each for each in self.before if each.exchange is not event.exchange]
                return mine

    def end(self):
        return self.exchange()[-1]


def kinds(events):
    """Return the names of their classes, runs of one kind as one."""
    names = [type(event).__name__ for event in events]
    return [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]


def joined(events, kind):
    return b"".join(event.data for event in events if isinstance(event, kind))
