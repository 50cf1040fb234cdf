"""Programs written for 0.8.9: what they do must go on doing what it did.

Tests in this folder are written from the behaviour of 0.8.9; ``make compare`` runs many requests
against both.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
