"""Speed measured side by side: ``python -m benchmarks --help``, explained in docs/performance.md.

Reads from bottom to top: ``process`` (what the kernel counts), ``origin`` (what is proxied),
``subjects`` (who proxies), ``load``, ``transfer``, ``sse``, ``startup`` (what is asked of
them), ``measurements`` (the list of it all), ``runner`` (the rounds), ``report`` and ``chart``.
"""
