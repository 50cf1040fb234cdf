"""How sync code and the event loop wait for each other. No HTTP."""
