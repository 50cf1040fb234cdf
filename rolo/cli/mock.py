"""What ``rolo mock`` answers with: the user's stubs, or WireMock's mappings."""

from __future__ import annotations

import os
import types

from rolo.cli.errors import CommandError
from rolo.cli.script import run_file
from rolo.config.tree import MockConfig
from rolo.harness import Harness, MappingError
from rolo.observing import AccessLog


def mocked(config: MockConfig) -> Harness:
    """Return a harness that has the stubs, and listens; the caller closes it.

    :raises CommandError: it cannot listen, or the file has a mistake; says which, and where
    """
    try:
        api = Harness(
            host=config.listen.host,
            port=config.listen.port,
            seed=config.seed,
            strict=False,
            observers=[AccessLog()] if config.log.writes_access else [],
        )
    except OSError as error:
        raise CommandError(error.strerror or error) from error
    try:
        _fill(api, config.file)
    except BaseException:
        api.close()
        raise
    return api


def _fill(api: Harness, file: str) -> None:
    if file.endswith(".py"):
        run_file(file, lambda module: _call(module, file, api))
    elif file.endswith(".json") or os.path.isdir(file):
        try:
            api.wiremock(file)
        except MappingError as error:
            raise CommandError(error, 2) from error
        except OSError as error:
            named = error.filename or file
            raise CommandError(f"{named}: {error.strerror or error}", 2) from error
    elif not os.path.exists(file):
        raise CommandError(f"{file}: No such file or directory", 2)
    else:
        raise CommandError(f"{file}: neither a Python file (.py), nor WireMock's (.json)", 2)


def _call(module: types.ModuleType, file: str, api: Harness) -> None:
    stubs = getattr(module, "stubs", None)
    if not callable(stubs):
        raise CommandError(f"{file}: define stubs(api), which is given a rolo.harness.Harness", 2)
    stubs(api)
    # What is wrong at the end of a test is not here, but for what never could be right.
    silent = [stub.name for stub in api.stubs if not stub.answers]
    if silent:
        raise CommandError(f"{file}: no answer was given to {', '.join(silent)}", 2)
