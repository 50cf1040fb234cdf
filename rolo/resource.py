"""The path that 0.8 had for :mod:`rolo.routing.resource`."""

from rolo.routing.resource import Resource, resource

__all__ = ["Resource", "resource"]
