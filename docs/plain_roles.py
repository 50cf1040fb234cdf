"""For the API reference: reads the roles of Sphinx in docstrings as code, in Markdown."""

import re

import griffe

# :class:`~rolo.proxy.Proxy` is `Proxy`, :meth:`close` is `close`, ``x`` is `x`.
_ROLE = re.compile(r":[a-z]+:`~?(?:[\w.]*\.)?([\w]+)`")
_LITERAL = re.compile(r"``(.+?)``", re.S)
# A paragraph that ends in two colons announces code, indented, as in Markdown.
_ANNOUNCED = re.compile(r"(?<=\S):(:)$|^::$", re.M)


class PlainRoles(griffe.Extension):
    """Changes every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        if obj.docstring is not None:
            text = _ROLE.sub(r"`\1`", obj.docstring.value)
            text = _LITERAL.sub(r"`\1`", text)
            obj.docstring.value = _ANNOUNCED.sub(r"\1", text)
