"""The place of the past for :mod:`rolo.routing.resource`."""

from rolo.routing.resource import Resource, resource

__all__ = ["Resource", "resource"]
