"""``python -m rolo`` is the command ``rolo``."""

import sys

from rolo.cli import main

if __name__ == "__main__":
    sys.exit(main())
