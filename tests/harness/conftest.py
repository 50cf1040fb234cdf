import pytest

from rolo.harness import ground


@pytest.fixture(scope="session", autouse=True)
def common_ground():
    """The loop of all harnesses; also in a test that makes its own ``Harness``."""
    held = ground.hold()
    yield held
    ground.release(held)
