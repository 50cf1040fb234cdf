"""HTML as it streams and JSON as a whole; compressed bodies are undone and redone.

rolo proxy --script rewrite_bodies.py http://localhost:8080
"""

from rolo.proxy.helpers import TransformBodies

BANNER = "<p>This is the staging system.</p>"


def with_banner(lines):
    for line in lines:
        yield line.replace("<body>", f"<body>{BANNER}")


def without_secrets(document):
    for user in document["users"]:
        user.pop("password", None)


hooks = [
    TransformBodies("text/html", lines=with_banner),
    TransformBodies("application/json", json=without_secrets),
]
