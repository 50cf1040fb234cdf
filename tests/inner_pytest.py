"""How tests run a pytest of their own: without plugins that take seconds to load."""

import sys

SLOW = ("hypothesispytest", "randomly", "xdist", "xdist.looponfail")

PLAIN_PYTEST = [
    *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
    *(option for plugin in SLOW for option in ("-p", f"no:{plugin}")),
]
