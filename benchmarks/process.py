"""What the kernel knows about a process: CPU time, memory, cores; and how one is run and ended.

CPU and memory figures exist on Linux only; elsewhere they are ``None`` and left out of the
tables.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
import signal
import subprocess
import tempfile
import typing as t

PROC = pathlib.Path("/proc")


def _stat_fields(pid: int | str) -> list[str]:
    """Return the fields of proc(5) ``stat`` from the third on: state, ppid, ..."""
    # The second, the name in parentheses, may hold spaces and parentheses.
    return PROC.joinpath(str(pid), "stat").read_text().rpartition(")")[2].split()


def process_tree(pid: int) -> list[int]:
    """Return ``pid`` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            children.setdefault(int(_stat_fields(entry.name)[1]), []).append(int(entry.name))
    pids = [pid]
    for parent in pids:
        pids.extend(children.get(parent, ()))
    return pids


def cpu_seconds(pid: int) -> float | None:
    """Return the CPU time, user and system, used so far by ``pid`` and its descendants."""
    if not PROC.joinpath("self/stat").exists():
        return None
    ticks = 0
    for member in process_tree(pid):
        with contextlib.suppress(OSError):
            # utime, stime, and those of children already waited for.
            ticks += sum(int(field) for field in _stat_fields(member)[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _status_bytes(pid: int, field: str) -> int | None:
    total = None
    for member in process_tree(pid):
        with contextlib.suppress(OSError):
            for line in PROC.joinpath(str(member), "status").read_text().splitlines():
                if line.startswith(field + ":"):
                    total = (total or 0) + int(line.split()[1]) * 1024
    return total


def rss_bytes(pid: int) -> int | None:
    """Return the resident memory of ``pid`` and its descendants, in bytes."""
    return _status_bytes(pid, "VmRSS")


def peak_rss_bytes(pid: int) -> int | None:
    """Return the highest resident memory since :func:`reset_peak_rss`, in bytes."""
    return _status_bytes(pid, "VmHWM")


def reset_peak_rss(pid: int) -> None:
    for member in process_tree(pid):
        # Writing 5 resets VmHWM to the present size: proc(5), clear_refs.
        with contextlib.suppress(OSError):
            PROC.joinpath(str(member), "clear_refs").write_text("5")


def raise_file_limit(wanted: int = 65536) -> int:
    """Allow ``wanted`` open files, or as many as can be had; children inherit it.

    :return: the limit that holds now
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    unlimited = hard == resource.RLIM_INFINITY
    # Only the superuser may raise the hard limit, so the second try may have to do.
    for new_hard in (hard if unlimited else max(hard, wanted), hard):
        new_soft = wanted if unlimited else min(new_hard, wanted)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (new_soft, new_hard))
            return new_soft
    return soft


def can_pin() -> bool:
    """Whether subject and load can be given cores of their own here."""
    return hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) >= 2


@contextlib.contextmanager
def running_on(cores: set[int] | None) -> t.Iterator[None]:
    """Run the block, and whatever it starts, on ``cores`` only; ``None`` changes nothing."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Child:
    """A process of ours in a group of its own; what it prints goes to a temporary file.

    :param cores: the cores it may use; ``None`` for all of them
    """

    def __init__(
        self, command: t.Sequence[str], cwd: pathlib.Path, cores: set[int] | None = None
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - stop() closes it
        try:
            # Set before the start and inherited, so that no thread of the child escapes it.
            with running_on(cores):
                self._process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except BaseException:
            self._log.close()
            raise
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        # Not seek and read: the child writes through the same file offset.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode("utf-8", "replace")

    def stop(self, timeout: float = 5.0) -> None:
        """End the process and all it started: asked first, after ``timeout`` seconds forced."""
        try:
            self._process.terminate()
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(timeout)
            self._log.close()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
