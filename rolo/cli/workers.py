"""Several processes on one listening socket, and the one that looks after them."""

from __future__ import annotations

import collections
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import typing as t

from rolo.cli.errors import CommandError
from rolo.cli.stop import StopNow, StopSignals

LOG = logging.getLogger(__name__)

MAX_DEATHS = 5
DEATHS_PERIOD = 30.0
"""More than so many deaths in so many seconds are no accident."""

_POLL = 0.2
_PATIENCE = 5.0
"""Seconds that workers get to stop beyond the time their exchanges get."""

Worker = subprocess.Popen[bytes]


class Supervisor:
    """Starts ``count`` copies of this command on ``sock``, and starts again what dies.

    Workers hold the read end of a pipe of ours; when we end, however we end, they see it
    close and end too.

    :param argv: the command line to repeat, without the program's name
    :param shutdown_timeout: seconds that exchanges get at the end; ``None`` is no limit
    """

    def __init__(
        self,
        argv: t.Sequence[str],
        sock: socket.socket,
        count: int,
        shutdown_timeout: float | None,
    ) -> None:
        self._argv = list(argv)
        self._sock = sock
        self._count = count
        self._shutdown_timeout = shutdown_timeout
        self._workers: list[Worker] = []
        self._deaths: collections.deque[float] = collections.deque(maxlen=MAX_DEATHS + 1)

    def run(self, signals: StopSignals) -> int:
        """Run until the signal to stop; return the exit code.

        :raises CommandError: the platform cannot do it, or workers keep dying
        """
        if os.name != "posix":
            raise CommandError("--workers needs a POSIX system", 2)
        reader, writer = os.pipe()
        try:
            for _ in range(self._count):
                self._start(reader)
            while not signals.wait(_POLL):
                self._replace_dead(reader)
            return self._stop()
        except StopNow:
            return 1
        finally:
            self._kill()
            os.close(reader)
            os.close(writer)

    def _start(self, parent_fd: int) -> None:
        fd = self._sock.fileno()
        self._workers.append(
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "rolo", *self._argv, "--workers", "1"),
                    *("--fd", str(fd), "--parent-fd", str(parent_fd)),
                ],
                pass_fds=(fd, parent_fd),
                stdin=subprocess.DEVNULL,
                # A Ctrl-C of the terminal comes to us; from us they get one signal, not two.
                process_group=0,
            )
        )

    def _replace_dead(self, parent_fd: int) -> None:
        for worker in [worker for worker in self._workers if worker.poll() is not None]:
            self._workers.remove(worker)
            LOG.warning("worker %d ended with code %d", worker.pid, worker.returncode)
            self._deaths.append(time.monotonic())
            if (
                len(self._deaths) > MAX_DEATHS
                and self._deaths[-1] - self._deaths[0] < DEATHS_PERIOD
            ):
                raise CommandError(
                    f"workers keep dying, the last one with code {worker.returncode}"
                )
            self._start(parent_fd)

    def _stop(self) -> int:
        """Pass the signal on and wait for the workers."""
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
        # The workers close theirs first thing. With ours open the kernel would still let
        # clients connect, and nobody would ever accept them.
        self._sock.close()
        limit = self._shutdown_timeout
        deadline = None if limit is None else time.monotonic() + limit + _PATIENCE
        try:
            for worker in self._workers:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                worker.wait(left)
        except subprocess.TimeoutExpired:
            LOG.error("workers did not stop in time")
            return 1
        return 0

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.kill()
        for worker in self._workers:
            worker.wait()
