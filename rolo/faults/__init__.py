"""What goes wrong on purpose: faults on the wire, of answers, requests and websockets.

::

    faults = Faults(seed=1)
    faults.add(cut(after=1000), every=3)
    Gateway(request_handlers=[faults.handler, router_handler])
"""

from rolo.errors import FaultUnavailable, InjectedFault
from rolo.faults.answers import faulty, raw, status
from rolo.faults.breaks import cut, empty, hang, refuse, reset
from rolo.faults.fault import Fault
from rolo.faults.malformed import bad_chunk, garbage, malformed_head, oversized_head, wrong_length
from rolo.faults.pace import bytes_per_second, drip, late, rate
from rolo.faults.rules import Faults, Rule, spoil
from rolo.faults.scope import Scope
from rolo.faults.units import corrupt, delay, drop, duplicate, reorder, silence
from rolo.faults.websocket import close_with, fragment, lose, no_close, no_pong

__all__ = [
    "Fault",
    "FaultUnavailable",
    "Faults",
    "InjectedFault",
    "Rule",
    "Scope",
    "bad_chunk",
    "bytes_per_second",
    "close_with",
    "corrupt",
    "cut",
    "delay",
    "drip",
    "drop",
    "duplicate",
    "empty",
    "faulty",
    "fragment",
    "garbage",
    "hang",
    "late",
    "lose",
    "malformed_head",
    "no_close",
    "no_pong",
    "oversized_head",
    "rate",
    "raw",
    "refuse",
    "reorder",
    "reset",
    "silence",
    "spoil",
    "status",
    "wrong_length",
]
