"""What a harness says to people: lines for requests, a transcript, the end of a test. 80 columns."""

from __future__ import annotations

import textwrap
import typing as t

from rolo.harness.record import Message, Record

WIDTH = 80
_SHOWN = 50
"""Exchanges of a transcript; more are counted."""
_MESSAGES = 20
_EXCERPT = 200
"""Letters of a body that are shown."""


def line(record: Record) -> str:
    """Return one line for a request and what it was answered."""
    size = f" ({_bytes(record.size)})" if record.size else ""
    return _cut(f"{record.number:>3} {_request(record)}{size} -> {_outcome(record)}")


def transcript(records: t.Sequence[Record]) -> str:
    """Return what happened, request by request."""
    if not records:
        return "Nothing came.\n"
    lines: list[str] = []
    skipped = len(records) - _SHOWN
    if skipped > 0:
        lines.append(f"({skipped} earlier exchanges)")
    first = records[max(0, skipped)].started
    for record in records[max(0, skipped) :]:
        lines += _exchange(record, record.started - first)
    return "\n".join(lines) + "\n"


def ending(complaints: t.Sequence[str]) -> str:
    """Return what is wrong at the end of a test."""
    parts = [each.strip("\n") for each in complaints]
    long = [each for each in parts if "\n" in each]
    short = [each for each in parts if "\n" not in each]
    return "\n\n".join([*long, *(["\n".join(map(_wrapped, short))] if short else [])]) + "\n"


def _exchange(record: Record, at: float) -> t.Iterator[str]:
    yield _cut(f"{record.number:>3} {_request(record)}  at {at:.3f} s")
    if record.size:
        yield _cut(f"      > {_body(record.text, record.size, record.cut, record.pieces)}")
    for interim in record.interim:
        yield f"      < {interim.status}, after {interim.at:.3f} s"
    answer = record.answer
    if answer is not None:
        yield _cut(f"      < {answer.status} {answer.reason}, after {answer.at:.3f} s")
        if answer.size:
            yield _cut(f"      < {_body(answer.text, answer.size, answer.cut, answer.pieces)}")
    for message in record.messages[:_MESSAGES]:
        yield _cut(f"      {_message(message)}")
    if len(record.messages) > _MESSAGES:
        yield f"      and {len(record.messages) - _MESSAGES} more messages"
    if record.closed is not None:
        closed = record.closed
        reason = f" {closed.reason!r}" if closed.reason else ""
        yield _cut(f"      closed by the {closed.by}: {closed.code}{reason}")
    end = _end(record)
    if record.fate:
        end = f"{record.fate}; {end}"
    yield from textwrap.wrap(end, WIDTH, initial_indent="      ", subsequent_indent="      ")


def _request(record: Record) -> str:
    if record.head is None:
        return record.line or "what was no request"
    return f"{record.method} {record.target}"


def _outcome(record: Record) -> str:
    status = "no answer" if record.status is None else str(record.status)
    return status if record.outcome in ("complete", None) else f"{status}, {_end(record)}"


def _end(record: Record) -> str:
    if record.outcome is None:
        return "under way"
    words = {
        "complete": "complete",
        "failed": "failed",
        "refused": "refused",
        "aborted": "broken off",
        "client_left": "the client left",
    }[record.outcome]
    error = f" ({record.error})" if record.error else ""
    return f"{words} after {record.seconds or 0:.3f} s{error}"


def _body(text: str, size: int, cut: bool, pieces: t.Sequence[t.Any]) -> str:
    shown = _printable(text[:_EXCERPT])
    several = f" in {len(pieces)} pieces" if len(pieces) > 1 else ""
    return f"{_bytes(size)}{several}: {shown}{' ...' if cut or len(text) > _EXCERPT else ''}"


def _message(message: Message) -> str:
    arrow = ">" if message.by == "client" else "<"
    data = message.data if isinstance(message.data, str) else repr(message.data)
    if message.size and not message.data:
        data = f"({_bytes(message.size)}, not kept)"
    return f"{arrow} {_printable(data)}"


def _bytes(size: int) -> str:
    return f"{size} byte{'s' * (size != 1)}"


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _cut(text: str) -> str:
    text = _printable(text)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 4]} ..."


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False))
