"""Which errors stay with their exchange, and which go on."""

import asyncio
import signal
import subprocess
import sys

import greenlet
import pytest

from rolo.portal.containment import ProgramExit, contained


class Odd(BaseException):
    pass


def test_an_ordinary_error_is_itself():
    error = ValueError("x")
    assert contained(error) is error


@pytest.mark.parametrize("error", [SystemExit(3), Odd(), KeyboardInterrupt()], ids=repr)
def test_what_would_end_a_program_becomes_an_error(error, monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    became = contained(error)
    assert isinstance(became, ProgramExit)
    assert became.__cause__ is error


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), GeneratorExit(), greenlet.GreenletExit()], ids=repr
)
def test_a_cancellation_on_its_way_goes_on(error):
    with pytest.raises(type(error)) as caught:
        contained(error)
    assert caught.value is error
    assert isinstance(contained(error, steered=False), ProgramExit)


CTRL_C = """
import asyncio, os, signal
from rolo.bridge.bridge import Bridge
from rolo.gateway import Gateway

def hit():
    os.kill(os.getpid(), signal.SIGINT)
    for _ in iter(int, 1):
        pass

bridge = Bridge(Gateway(), mode="loop", watchdog=None)
loop = asyncio.new_event_loop()
loop.create_task(bridge.run_sync(hit))
try:
    loop.run_forever()
except KeyboardInterrupt:
    print("stopped")
"""


def test_ctrl_c_stops_a_program_whose_main_thread_runs_handlers():
    ran = subprocess.run(
        [sys.executable, "-c", CTRL_C],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ran.stdout == "stopped\n", ran.stderr
