"""Every setting of the command, said once: its name, default, bounds and meaning."""
