"""The inspector beside a command, and the one that shows a file."""

from __future__ import annotations

import contextlib
import typing as t

from rolo.cli.errors import CommandError
from rolo.cli.recordings import load
from rolo.config.objects import inspector_settings
from rolo.config.tree import InspectConfig, InspectorConfig
from rolo.config.values import Address
from rolo.inspector import Inspector, InspectorPage


@contextlib.contextmanager
def inspected(config: InspectorConfig) -> t.Iterator[tuple[Inspector, str]]:
    """Serve the inspector of a command; give it, and the URL of its page.

    :raises CommandError: it cannot be served
    """
    try:
        inspector = Inspector(**inspector_settings(config))
    except OSError as error:
        raise CommandError(f"argument --inspect-dir: {error.strerror or error}", 2) from error
    with _opened(inspector, config.listen) as page:
        yield inspector, page.url


def show(config: InspectConfig) -> tuple[InspectorPage, int]:
    """Serve a page that shows a file; return it, and how many exchanges there are.

    :raises CommandError: the file cannot be read, or the page not be served
    """
    inspector = Inspector()
    count = inspector.show(load(config.file))
    return _opened(inspector, config.listen), count


def _opened(inspector: Inspector, listen: Address) -> InspectorPage:
    try:
        return inspector.open(listen.host, listen.port)
    except OSError as error:
        raise CommandError(error.strerror or error) from error
