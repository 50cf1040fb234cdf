"""Rewriting what passes a proxy: the machinery below :class:`rolo.proxy.Hooks`."""
