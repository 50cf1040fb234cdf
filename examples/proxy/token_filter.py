"""A filter for the tokens of an LLM-style API that streams server-sent events.

rolo proxy --script token_filter.py http://localhost:8080
"""

import json

FORBIDDEN = {"password", "secret"}


def on_request(context):
    context.tokens = 0


def on_event(context, event):
    if event.data == "[DONE]":
        return [type(event)(json.dumps({"tokens": context.tokens})), event]
    chunk = json.loads(event.data)
    context.tokens += 1
    if chunk["token"].strip().lower() in FORBIDDEN:
        chunk["token"] = " ***"
        event.data = json.dumps(chunk)
    return event
