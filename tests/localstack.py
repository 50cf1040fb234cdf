"""Run LocalStack, the largest program built on rolo, on this version of it.

``make localstack``, or ``python tests/localstack.py [--rolo 0.8.9] [SERVER ...]``, SERVER being
hypercorn or twisted. LocalStack goes into an environment of its own, ``.localstack``, with our
package in the place of its rolo; ``--rolo 0.8.9`` leaves the registry's there, to compare. It
needs no account, and nothing but loopback once it is installed. Each service is driven by boto3;
what cannot run here is skipped, with the reason. Ends with 1 if something failed, and with 0
where LocalStack cannot be installed, which it says.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing as t
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".localstack"
# The last before its versions by year, and what it forgets to ask for, or to bound.
PACKAGES = ["localstack-core[runtime]==4.14.0", "cbor2<6", "pyopenssl<26", "service-identity"]
SERVERS = ("hypercorn", "twisted")
SKIPPED = {
    "dynamodb": "its backend, DynamoDB Local, is no package of PyPI and not under an open licence",
    "lambda": "needs Docker",
    "kinesis": "its backend is a Node program that is downloaded at run time",
}


class Unavailable(Exception):
    """LocalStack cannot run here."""


def python_for_it() -> str:
    """Return an interpreter that LocalStack runs on: 3.12 or newer."""
    found = [sys.executable, *(shutil.which(f"python3.{n}") for n in (13, 12))]
    found += map(str, pathlib.Path.home().glob(".pyenv/versions/3.1[23]*/bin/python"))
    for python in filter(None, found):
        check = "import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))"
        if subprocess.run([python, "-c", check], check=False, capture_output=True).returncode == 0:
            return python
    raise Unavailable("there is no Python 3.12 or 3.13")


def environment(rolo: str | None) -> str:
    """Return the Python of LocalStack's environment, made if need be, with ``rolo`` in it.

    :param rolo: a version of the registry; ``None`` is this tree
    """
    home = HOME / (rolo or "ours")
    python = str(home / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not (home / ".installed").exists():
        run([python_for_it(), "-m", "venv", str(home)])
        run([*pip, *PACKAGES])
        (home / ".installed").touch()
    if rolo is not None:
        run([*pip, f"rolo=={rolo}"])
    else:
        run([*pip, str(ROOT)])
        # Again, as pip keeps what it has of the same version.
        run([*pip, "--force-reinstall", "--no-deps", str(ROOT)])
    return python


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise Unavailable(f"{' '.join(command[1:5])} failed: {last}")


@contextlib.contextmanager
def localstack(python: str, server: str) -> t.Iterator[tuple[str, pathlib.Path]]:
    """Run LocalStack; gives its URL and the file it logs to."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="localstack-") as home:
        log = pathlib.Path(home, "log")
        settings = {
            "HOME": home,
            "PATH": os.environ.get("PATH", ""),
            "GATEWAY_SERVER": server,
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "GATEWAY_WORKER_COUNT": "32",
            "FILESYSTEM_ROOT": home,
            "DNS_ADDRESS": "0",
            "DISABLE_EVENTS": "1",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DEBUG": "1",
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [python, "-m", "localstack.runtime.main"],
                env=settings,
                cwd=home,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until_up(process, url, log)
            yield url, log
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                print("  LocalStack did not end within 30 seconds of SIGTERM")
                process.kill()
                process.wait()


def wait_until_up(process: subprocess.Popen[bytes], url: str, log: pathlib.Path) -> None:
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/_localstack/health"):
            return
        time.sleep(0.5)
    process.kill()
    raise RuntimeError("LocalStack did not start:\n" + log.read_text()[-3000:])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rolo", help="a version of the registry instead of this tree")
    parser.add_argument("--only", help="of the services, those with this in their name")
    parser.add_argument("--log", help="keep what LocalStack logs in this file")
    parser.add_argument("servers", nargs="*", metavar="SERVER")
    options = parser.parse_args()
    if strange := set(options.servers) - set(SERVERS):
        parser.error(f"no such server: {', '.join(sorted(strange))}")
    try:
        python = environment(options.rolo)
    except Unavailable as exc:
        print(f"LocalStack cannot run here: {exc}")
        return 0
    failed = False
    for server in options.servers or SERVERS:
        print(f"on {server}, rolo {options.rolo or 'of this tree'}:", flush=True)
        drive = pathlib.Path(__file__).with_name("localstack_services.py")
        try:
            with localstack(python, server) as (url, log):
                command = [python, str(drive), url, options.only or ""]
                failed |= subprocess.run(command, check=False, timeout=600).returncode != 0
                if options.log:
                    shutil.copy(log, options.log)
        except RuntimeError as exc:
            failed = True
            print(exc)
    for service, reason in SKIPPED.items():
        print(f"skipped {service}: {reason}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
