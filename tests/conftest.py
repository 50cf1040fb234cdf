"""Makes the helpers beside the tests importable: ``wire``, ``origins``."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))


def pytest_addoption(parser):
    parser.addoption(
        "--everywhere",
        action="store_true",
        help="run each variation of each test on each server in each mode",
    )
