"""A reactor for the session, and no thread of ours left behind by any test."""

import threading

import pytest

pytest.importorskip("twisted")


@pytest.fixture(autouse=True)
def no_thread_of_ours_is_left():
    """The reactor's own stay for the session."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("rolo-twisted"):
            thread.join(5)
            assert not thread.is_alive(), f"left behind: {thread}"
