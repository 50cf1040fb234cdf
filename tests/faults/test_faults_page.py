"""docs/faults.md: what it shows can be run, and its tables are those of the code."""

import pathlib
import re

import pytest
from threaded_origin import ThreadedOrigin
from wire import Truncated, Wire, fetch

from rolo import Response, faults
from rolo.faults import Fault
from rolo.faults.fault import DOWN
from rolo.faults.units import UnitFault
from rolo.gateway.handlers import RouterHandler
from rolo.routing import Router

ROOT = pathlib.Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "faults.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
HTTP, EVENTS, WEBSOCKETS = (
    re.findall(
        r"^\| `([a-z_]+\(.*?\))` \|.*\| (yes|no) \| (yes|no) \| (native|any) \|$", part, re.M
    )
    for part in re.split(r"^Of \*\*", PAGE.partition("## The faults")[2], flags=re.M)
)


def run(number, **replaced):
    text = BLOCKS[number]
    for old, new in replaced.pop("urls", {}).items():
        assert old in text
        text = text.replace(old, new)
    names = {}
    exec(compile(text, f"block {number}", "exec"), names)
    return names


def body_of(url, target):
    """What comes of a body before its connection ends."""
    with Wire(url) as wire:
        wire.request("GET", target)
        with pytest.raises(Truncated):
            wire.answer()
        return wire.buffer


def test_every_block_is_run_below():
    source = pathlib.Path(__file__).read_text()
    assert {int(number) for number in re.findall(r"\brun\((\d)", source)} == set(range(len(BLOCKS)))


def test_each_third_download_is_cut(start):
    named = run(0)
    named["faults"].rules[1].remove()  # which would take its time
    url = start(*named["gateway"].request_handlers)
    assert [len(fetch(url, "/file").body) for _ in range(2)] == [5000, 5000]
    assert len(body_of(url, "/file")) == 1000


def test_requests_to_an_upstream_are_reset(start):
    with ThreadedOrigin() as origin:
        named = run(1, urls={"http://localhost:8080": origin.url})
        url = start(named["proxy"])
        tries = [fetch(url, "/upload", "POST", body=b"x" * 2000).status for _ in range(3)]
        assert tries == [502, 502, 200]
        named["proxy"].close()


def test_answers_and_requests_fail_by_hand(start):
    named = run(2)
    router = Router()
    router.add("/half", named["half"])
    router.add("/raw", named["by_hand"])
    router.add("/slow", lambda request: Response("0123456789 and more"))
    url = start(named["held_up"], RouterHandler(router))
    assert len(body_of(url, "/half")) == 2500
    with Wire(url) as wire:
        wire.request("GET", "/raw")
        assert wire.answer().body == b"no length, no chunks"
    with Wire(url) as wire:
        wire.request("GET", "/slow")
        assert wire.read_until(b"0123456789")


def test_an_outage_is_a_block(start):
    named = run(3)
    url = start(named["faults"].handler, RouterHandler(Router(), respond_not_found=True))
    assert named["check"](url + "/file") == 503
    assert fetch(url, "/file").status == 404


def value(call):
    return eval(call, vars(faults).copy())


@pytest.mark.parametrize(("call", "down", "up", "servers"), [*HTTP, *EVENTS, *WEBSOCKETS])
def test_each_row_of_the_tables_is_true(call, down, up, servers):
    fault = value(call)
    assert isinstance(fault, Fault)
    assert down == "yes"
    events = (call, down, up, servers) in EVENTS
    assert (up == "yes") is (fault.directions != DOWN and not events)
    if (call, down, up, servers) not in WEBSOCKETS:
        assert (servers == "native") is fault.needs_wire
        assert fault.http
        assert isinstance(fault, UnitFault) <= events
    else:
        assert fault.websockets


def test_every_fault_is_in_the_tables():
    shown = {call.partition("(")[0] for call, *_ in (*HTTP, *EVENTS, *WEBSOCKETS)}
    no_faults = {"bytes_per_second", "faulty", "raw", "spoil"}
    made = {name for name in faults.__all__ if name[0].islower()} - no_faults
    assert made == shown
