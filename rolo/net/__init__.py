"""Sockets of either side, on the event loop: what is read from them, and written to them."""
