"""The path that 0.8 had for the version."""

from rolo._version import __version__

version = __version__
version_tuple = tuple(int(n) if n.isdigit() else n for n in version.split("."))

__all__ = ["__version__", "version", "version_tuple"]
