"""How sync code and the event loop wait for each other. No HTTP.

Handlers that call coroutines of their own ask for their :func:`current_portal`.
"""

from rolo.portal.portal import Portal, current_portal

__all__ = ["Portal", "current_portal"]
