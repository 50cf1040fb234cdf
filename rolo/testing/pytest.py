"""Pytest fixtures that serve apps, routers and gateways on a free port."""
