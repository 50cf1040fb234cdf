"""Websocket messages: changed, dropped, and put in by the proxy itself.

rolo proxy --script edit_messages.py http://localhost:8080
"""

import threading


def on_accepted(context, websocket):
    websocket.send_to_client("welcome")  # before anything the upstream says

    # Any thread may speak into the websocket, at any time.
    timer = threading.Timer(0.1, lambda: websocket.send_to_client("still there?"))
    timer.daemon = True
    timer.start()
    context.timer = timer


def on_client_message(context, message):
    if message == "ping":
        context.websocket.send_to_client("pong")
        return []  # the upstream does not see it
    return message.strip()


def on_upstream_message(context, message):
    return f"upstream: {message}"


def on_closed(context, closed):
    context.timer.cancel()
    print(f"closed by the {closed.by} with {closed.code}", flush=True)
