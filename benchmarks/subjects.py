"""Who is measured: every proxy as a command that listens on a port and forwards to an origin."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import typing as t
import venv

from benchmarks.process import Child
from benchmarks.wire import answers_hello

ROOT = pathlib.Path(__file__).resolve().parent.parent
OLD_ENVIRONMENT = ROOT / "benchmarks" / ".env"
OLD_REQUIREMENTS = ("rolo==0.8.9", "hypercorn", "requests")
START_TIMEOUT = 20.0
HTTP = frozenset({"http"})
WEBSOCKET = frozenset({"websocket"})

Command = t.Callable[[str, int, pathlib.Path], list[str]]
"""(upstream URL, port to listen on, an empty directory) to the command line."""


class Unavailable(Exception):
    """The subject cannot be measured here; the message says why."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """One column of a comparison.

    :param command: ``None`` for the origin itself, without a proxy
    :param imports: the module whose import belongs to its start-up, ``None`` if not Python
    :param python: the interpreter to import it with; called only when needed
    :param serve: server and mode for ``rolo.serving.serve``, where the subject has that
    """

    name: str
    title: str
    command: Command | None = None
    imports: str | None = None
    python: t.Callable[[], str] = lambda: sys.executable
    serve: tuple[str, str] | None = None
    kinds: frozenset[str] = HTTP
    """The kinds of traffic it takes; see :class:`benchmarks.measurements.Measurement`."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A subject that runs and answers on ``port`` of 127.0.0.1."""

    subject: Subject
    port: int
    pid: int
    ready_seconds: float
    """From the start of its process to its first answer."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _aiohttp(upstream: str, port: int, directory: pathlib.Path) -> list[str]:
    if importlib.util.find_spec("aiohttp") is None:
        raise Unavailable("aiohttp is not installed")
    return [sys.executable, "-m", "benchmarks.aiohttp_proxy", upstream, str(port)]


def _rolo(server: str, mode: str) -> Command:
    def command(upstream: str, port: int, directory: pathlib.Path) -> list[str]:
        options = ["--listen", f"127.0.0.1:{port}", "--server", server, "--mode", mode]
        return [sys.executable, "-m", "rolo", "proxy", upstream, *options, "--no-access-log", "-q"]

    return command


def old_python() -> str:
    """Return the interpreter of an environment that holds rolo 0.8.9, made when missing.

    :raises Unavailable: it cannot be made, for example without a network
    """
    python = OLD_ENVIRONMENT / "bin" / "python"
    complete = OLD_ENVIRONMENT / "complete"
    if not complete.exists():
        print(f"making an environment for {OLD_REQUIREMENTS[0]} ...", file=sys.stderr)
        venv.create(OLD_ENVIRONMENT, clear=True, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *OLD_REQUIREMENTS]
        done = subprocess.run(
            install, timeout=300, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Unavailable(f"{OLD_REQUIREMENTS[0]} cannot be installed: {reason}")
        complete.touch()
    return str(python)


def _old_rolo(upstream: str, port: int, directory: pathlib.Path) -> list[str]:
    # By path and not with -m, which would find the rolo of this tree first.
    return [old_python(), str(ROOT / "benchmarks" / "old_rolo.py"), upstream, str(port)]


NGINX_CONFIG = """
{user}
worker_processes 1;
worker_rlimit_nofile 65536;
pid {directory}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 32768; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    upstream origin {{
        server {origin};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    map $http_upgrade $connection_field {{ default upgrade; "" ""; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_field;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
        }}
    }}
}}
"""


def _nginx(upstream: str, port: int, directory: pathlib.Path) -> list[str]:
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if nginx is None:
        raise Unavailable("nginx is not installed")
    # Started by root, the worker would else become a user who may not enter the directory.
    user = f"user {pwd.getpwuid(0).pw_name};" if os.getuid() == 0 else ""
    config = directory / "nginx.conf"
    config.write_text(
        NGINX_CONFIG.format(
            user=user, directory=directory, port=port, origin=upstream.removeprefix("http://")
        )
    )
    return [nginx, "-e", "stderr", "-p", str(directory), "-c", str(config), "-g", "daemon off;"]


def _go(upstream: str, port: int, directory: pathlib.Path) -> list[str]:
    return [str(go_proxy()), upstream, str(port)]


def go_proxy() -> pathlib.Path:
    """Return Go's reverse proxy as a program, built when missing or older than its source.

    :raises Unavailable: it cannot be built, for example without Go
    """
    source, program = ROOT / "benchmarks" / "go_proxy.go", ROOT / "benchmarks" / ".go_proxy"
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    go = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin")
    if go is None:
        raise Unavailable("Go is not installed")
    done = subprocess.run(
        [go, "build", "-o", str(program), str(source)], capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Unavailable(f"{source.name} cannot be built: {reason}")
    return program


def _echo_server(server: str, mode: str) -> Subject:
    def command(upstream: str, port: int, directory: pathlib.Path) -> list[str]:
        return [sys.executable, "-m", "benchmarks.echo_server", server, mode, str(port)]

    return Subject(
        name=f"echo-{server}-{mode}",
        title=f"rolo handler, {server}, {mode}",
        command=command,
        kinds=WEBSOCKET,
    )


def _new(server: str, mode: str) -> Subject:
    return Subject(
        name=f"rolo-{server}-{mode}",
        title=f"rolo, {server}, {mode}",
        command=_rolo(server, mode),
        imports="rolo",
        serve=(server, mode),
        kinds=HTTP | WEBSOCKET,
    )


def _hooked(hook: str, mode: str, kinds: frozenset[str]) -> Subject:
    """The native server with one of the scripts in ``benchmarks/hooks``."""
    plain = _rolo("native", mode)
    script = str(ROOT / "benchmarks" / "hooks" / f"{hook}.py")

    def command(upstream: str, port: int, directory: pathlib.Path) -> list[str]:
        return [*plain(upstream, port, directory), "--script", script]

    title = f"rolo, native, {mode}, a {hook} hook"
    return Subject(f"rolo-native-{mode}-{hook}-hook", title, command, imports="rolo", kinds=kinds)


SUBJECTS: dict[str, Subject] = {
    subject.name: subject
    for subject in (
        Subject("direct", "no proxy", kinds=HTTP | WEBSOCKET),
        Subject("nginx", "nginx", _nginx, kinds=HTTP | WEBSOCKET),
        Subject(
            "aiohttp",
            "aiohttp by hand",
            _aiohttp,
            imports="aiohttp.web",
            kinds=HTTP | WEBSOCKET,
        ),
        Subject("go", "Go ReverseProxy", _go, kinds=HTTP | WEBSOCKET),
        Subject("rolo-0.8.9", "rolo 0.8.9", _old_rolo, imports="rolo", python=old_python),
        _new("native", "loop"),
        _new("native", "threads"),
        _new("uvicorn", "loop"),
        _new("uvicorn", "threads"),
        _new("granian", "loop"),
        _new("granian", "threads"),
        _new("hypercorn", "loop"),
        _new("hypercorn", "threads"),
        _hooked("header", "loop", HTTP),
        _hooked("header", "threads", HTTP),
        _hooked("chunk", "loop", HTTP),
        _hooked("chunk", "threads", HTTP),
        _hooked("message", "loop", WEBSOCKET),
        _hooked("message", "threads", WEBSOCKET),
        _echo_server("native", "loop"),
        _echo_server("uvicorn", "loop"),
        _echo_server("hypercorn", "loop"),
    )
}
DEFAULT_SUBJECTS = (
    "direct",
    "nginx",
    "go",
    "aiohttp",
    "rolo-0.8.9",
    "rolo-native-loop",
    "rolo-native-threads",
    "rolo-uvicorn-loop",
    "rolo-granian-loop",
    "rolo-hypercorn-loop",
    "echo-native-loop",
)
BASELINES = ("aiohttp", "rolo-0.8.9")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_origin(cores: set[int] | None) -> t.Iterator[Target]:
    """Run the origin; also the target ``direct``."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.origin"]
    with Child(command, ROOT, cores) as child:
        _wait(child, lambda: child.output().endswith("\n"))
        port = int(child.output())
        yield Target(SUBJECTS["direct"], port, child.pid, time.perf_counter() - started)


@contextlib.contextmanager
def running(subject: Subject, origin: Target, cores: set[int] | None) -> t.Iterator[Target]:
    """Run ``subject`` in front of ``origin`` until the block ends.

    :raises Unavailable: it cannot run here, or did not answer in time
    """
    if subject.command is None:
        yield origin
        return
    with tempfile.TemporaryDirectory(prefix="rolo-bench-") as directory:
        port = free_port()
        command = subject.command(origin.url, port, pathlib.Path(directory))
        started = time.perf_counter()
        with Child(command, ROOT, cores) as child:
            _wait(child, lambda: answers_hello(port))
            yield Target(subject, port, child.pid, time.perf_counter() - started)


def _wait(child: Child, condition: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not condition():
        if child.alive and time.monotonic() < deadline:
            time.sleep(0.005)
            continue
        lines = child.output().strip().splitlines()
        said = f": {lines[-1]}" if lines else ""
        raise Unavailable(
            (f"no answer within {START_TIMEOUT:g} s" if child.alive else "ended at once") + said
        )
