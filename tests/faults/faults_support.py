"""Handlers whose answers are spoilt."""

from rolo.response import Response

BODY = b"0123456789" * 10


def answering(make=lambda: Response(BODY)):
    """Return a handler that answers with what ``make`` returns."""

    def answer(chain, context, response):
        response.update_from(make())
        chain.stop()

    return answer


def whole(chain, context, response):
    """A handler that answers with BODY."""
    response.update_from(Response(BODY))
    chain.stop()
