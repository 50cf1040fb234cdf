"""Recordings of traffic: made, redacted, written and read as HAR 1.2, replayed, compared."""

from __future__ import annotations

from rolo.har.comparison import compare
from rolo.har.content import Content
from rolo.har.errors import HarError
from rolo.har.model import Answer, Close, Entry, Interim, Message, Piece, Pieces, Recording
from rolo.har.player import Player
from rolo.har.reading import read_har
from rolo.har.recorder import Recorder
from rolo.har.redact import REDACTED, SECRET_HEADERS, Redaction
from rolo.har.writing import write_har

__all__ = [
    "REDACTED",
    "SECRET_HEADERS",
    "Answer",
    "Close",
    "Content",
    "Entry",
    "HarError",
    "Interim",
    "Message",
    "Piece",
    "Pieces",
    "Player",
    "Recorder",
    "Recording",
    "Redaction",
    "compare",
    "read_har",
    "write_har",
]
