"""Headers on the way out and on the way back.

rolo proxy --script headers.py http://localhost:8080
"""


def on_outgoing(context, outbound):
    # What came is in context.request, what goes is in outbound.
    outbound.headers["X-Tenant"] = context.request.host.partition(".")[0]
    outbound.headers.remove("Cookie")


def on_response(context, response):
    response.headers["Strict-Transport-Security"] = "max-age=31536000"
    response.headers.remove("Server", "X-Powered-By")
