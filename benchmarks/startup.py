"""How long it takes to import the library and to serve a first answer."""

from __future__ import annotations

import subprocess

from benchmarks.subjects import ROOT, Subject
from benchmarks.wire import MeasurementFailed

IMPORT = """
import time
started = time.perf_counter()
import {module}
print(time.perf_counter() - started)
"""

SERVE = """
import time, urllib.request
from rolo import Router
from rolo.routing import handler_dispatcher
from rolo.serving import serve
router = Router(handler_dispatcher())
router.add("/hello", lambda request: "Hello, world!")
started = time.perf_counter()
with serve(router, port=0, server={server!r}, mode={mode!r}) as server:
    with urllib.request.urlopen(server.url + "/hello") as response:
        response.read()
    print(time.perf_counter() - started)
"""


def import_seconds(subject: Subject) -> float | None:
    """Import the subject's library in a fresh process; ``None`` if it has none."""
    if subject.imports is None:
        return None
    return _run(subject.python(), IMPORT.format(module=subject.imports))


def serve_seconds(subject: Subject) -> float | None:
    """Return the time from the call of ``serve`` to the first answer, imports done before."""
    if subject.serve is None:
        return None
    server, mode = subject.serve
    return _run(subject.python(), SERVE.format(server=server, mode=mode))


def _run(python: str, code: str) -> float:
    # -I: only what is installed in that environment, not the rolo of the current directory.
    done = subprocess.run(
        [python, "-I", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise MeasurementFailed(lines[-1])
    return float(done.stdout.splitlines()[-1])
