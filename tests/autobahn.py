"""Run the Autobahn test suite through the proxy, and directly for comparison.

``make autobahn``, or ``python tests/autobahn.py [--cases PATTERN,...] [SERVER ...]``. Without
``--cases`` the slow ones are left out; ``--cases '*'`` runs all, for an hour or two. The suite needs
Python 2.7 and an environment of its own, which is made in ``.autobahn``; where that cannot be
done, this says why and ends without a failure. A case that passes directly must pass through
the proxy.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import threading

SUITE = "autobahntestsuite==25.10.1"
ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".autobahn"
# Limits and performance, and big messages compressed a thousand times over: hours of them.
EXCLUDED = ["9.*", *(f"{family}.*.{n}" for family in (12, 13) for n in range(6, 19))]
GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")
FAMILIES = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "close handshake",
    "9": "limits and performance",
    "10": "auto-fragmentation",
    "12": "compression",
    "13": "compression, parameters",
}


class Unavailable(Exception):
    """The suite cannot run here."""


def python2() -> str:
    candidates = [shutil.which("python2.7")]
    candidates += map(str, pathlib.Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))
    candidates += [shutil.which("pypy"), shutil.which("pypy2")]
    for candidate in filter(None, candidates):
        answer = subprocess.run([candidate, "-c", "pass"], capture_output=True, check=False)
        if answer.returncode == 0:
            return candidate
    raise Unavailable("there is no Python 2.7")


def suite() -> str:
    """Return the path of ``wstest``, installing it if need be."""
    program = HOME / "bin" / "wstest"
    if program.exists():
        return str(program)
    python = python2()
    steps = [
        [python, "-m", "pip", "install", "--quiet", "--user", "virtualenv<20.22"],
        [python, "-m", "virtualenv", "--quiet", str(HOME)],
        [str(HOME / "bin" / "pip"), "install", "--quiet", SUITE],
    ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise Unavailable(f"{' '.join(step[1:4])} failed: {last}")
    return str(program)


@contextlib.contextmanager
def echo_origin():
    """Run an echo server by the ``websockets`` library, which passes the suite itself."""
    try:
        from websockets.asyncio.server import serve
    except ImportError:
        raise Unavailable("the origin needs the websockets library") from None

    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()
    port = 0

    async def echo(websocket):
        async for message in websocket:
            await websocket.send(message)

    async def main():
        nonlocal port
        # Permessage-deflate is the library's own choice here, as in the direct run.
        async with serve(echo, "127.0.0.1", 0, max_size=None, ping_interval=None) as server:
            port = server.sockets[0].getsockname()[1]
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), name="origin")
    thread.start()
    started.wait()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def run(
    wstest: str, agents: dict[str, int], reports: pathlib.Path, cases: list[str] | None
) -> dict[str, dict[str, str]]:
    """Run the fuzzing client against each agent; return the outcome by agent and case."""
    spec = {
        "outdir": str(reports),
        "servers": [{"agent": n, "url": f"ws://127.0.0.1:{p}"} for n, p in agents.items()],
        "cases": cases or ["*"],
        "exclude-cases": [] if cases else EXCLUDED,
        "exclude-agent-cases": {},
    }
    file = reports / "spec.json"
    file.write_text(json.dumps(spec))
    subprocess.run(
        [wstest, "-m", "fuzzingclient", "-s", str(file)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    index = json.loads((reports / "index.json").read_text())
    return {
        agent: {
            case: result["behavior"]
            if result["behaviorClose"] in GOOD
            else f"close: {result['behaviorClose']}"
            for case, result in cases.items()
        }
        for agent, cases in index.items()
    }


def summary(outcomes: dict[str, dict[str, str]]) -> str:
    """Return a table: cases passed of cases run, by family and agent."""
    agents = list(outcomes)
    lines = ["| cases | " + " | ".join(agents) + " |", "|---" * (len(agents) + 1) + "|"]
    for number, family in FAMILIES.items():
        row = []
        for agent in agents:
            found = [o for c, o in outcomes[agent].items() if c.split(".")[0] == number]
            row.append(f"{sum(o in GOOD for o in found)} of {len(found)}" if found else "")
        if any(row):
            lines.append(f"| {number} {family} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def regressions(outcomes: dict[str, dict[str, str]]) -> list[str]:
    """Return the cases that pass directly and not through a proxy."""
    direct = outcomes["direct"]
    return [
        f"{agent}: case {case} is {outcome}, directly {direct[case]}"
        for agent, cases in outcomes.items()
        for case, outcome in cases.items()
        if outcome not in GOOD and direct.get(case) in GOOD
    ]


def main(servers: list[str], cases: list[str] | None) -> int:
    from rolo.gateway import Gateway
    from rolo.proxy import ProxyHandler, WebSocketSettings
    from rolo.serving import serve

    try:
        wstest = suite()
        origin = echo_origin()
        port = origin.__enter__()
    except Unavailable as reason:
        print(f"skipped: {reason}")
        return 0
    reports = HOME / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as running:
        running.push(origin.__exit__)
        handler = ProxyHandler(
            f"http://127.0.0.1:{port}", websockets=WebSocketSettings(compression=True)
        )
        running.callback(handler.close)
        agents = {"direct": port}
        for name in servers:
            server = serve(Gateway([handler]), server=name, mode="loop")
            agents[name] = running.enter_context(server).port
        outcomes = run(wstest, agents, reports, cases)
    print(summary(outcomes))
    found = regressions(outcomes)
    counts = collections.Counter(line.split(":")[0] for line in found)
    print("\n".join(found) or "every case that passes directly passes through the proxy")
    print(*(f"{agent}: {count} cases" for agent, count in counts.items()))
    return 1 if any(not line.split("case ")[1].startswith(("12.", "13.")) for line in found) else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    # It logs each violation that it is sent, of which there are hundreds.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=lambda text: text.split(","), help="such as '9.*'")
    parser.add_argument("servers", nargs="*", default=["native", "uvicorn", "hypercorn"])
    arguments = parser.parse_args()
    sys.exit(main(arguments.servers, arguments.cases))
