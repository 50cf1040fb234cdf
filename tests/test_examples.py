"""The programs in ``examples/`` run as they are, over HTTP."""

import json
import pathlib
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"

# The programs ask for port 8080 and a reloader, which a test cannot have. The wrapper
# replaces what they import, and says where they listen.
WRAPPER = """
import runpy, sys
import werkzeug, werkzeug.serving as serving

def run_simple(hostname, port, application, use_reloader=False):
    server = serving.make_server("127.0.0.1", 0, application, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()

werkzeug.run_simple = serving.run_simple = run_simple
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.fixture
def start():
    """Start a program of ``examples/`` and return its URL."""
    processes = []

    def start(name):
        process = subprocess.Popen(
            [sys.executable, "-c", WRAPPER, str(EXAMPLES / name)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
        port = process.stdout.readline().strip()
        assert port, f"{name} did not start"
        return f"http://127.0.0.1:{port}"

    yield start
    for process in processes:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        process.stdout.close()


def ask(url, method="GET", body=None):
    request = urllib.request.Request(url, data=body, method=method)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def ask_json(*args):
    status, body = ask(*args)
    return status, json.loads(body)


def test_router(start):
    url = start("router.py")
    assert ask(f"{url}/users") == (200, b"user")
    assert ask(f"{url}/users/12") == (200, b"12")
    assert ask(f"{url}/users/me")[0] == 404


def test_pydantic_router(start):
    url = start("pydantic_router.py")
    assert ask_json(f"{url}/") == (200, {"Hello": "World"})
    assert ask_json(f"{url}/items/5?q=x") == (200, {"item_id": 5, "q": "q=x"})
    item = b'{"name": "foo", "price": 1.5}'
    assert ask_json(f"{url}/items/5", "PUT", item) == (200, {"item_name": "foo", "item_id": 5})
    status, (error,) = ask_json(f"{url}/items/5", "PUT", b'{"name": "foo"}')
    assert (status, error["loc"], error["type"]) == (400, ["price"], "missing")
    assert ask_json(f"{url}/items/5", "PUT", b"{")[0] == 400
    assert ask(f"{url}/items/5", "POST", item)[0] == 405


def test_gateway(start):
    url = start("gateway.py")
    assert ask_json(f"{url}/hello-world") == (
        200,
        {"url": f"{url}/hello-world", "method": "GET"},
    )
    assert ask_json(f"{url}/x", "PUT", b"{}")[1]["method"] == "PUT"
