"""What every proxy needs to rewrite: small pure functions, and ready hooks made of them.

Give the hooks to a proxy: ``ProxyHandler(url, hooks=[StripPrefix("/api"), Cors()])``.
"""

from rolo.proxy.helpers.auth import BasicAuth, RequireBasicAuth, basic_auth
from rolo.proxy.helpers.bodies import TransformBodies
from rolo.proxy.helpers.cors import Cors
from rolo.proxy.helpers.headers import RewriteHost, SetHeaders
from rolo.proxy.helpers.locations import (
    ReverseUrls,
    rewrite_cookie,
    rewrite_refresh,
    rewrite_url,
)
from rolo.proxy.helpers.mirror import Copy, Mirror
from rolo.proxy.helpers.paths import (
    AddPrefix,
    RewritePath,
    StripPrefix,
    add_prefix,
    strip_prefix,
)

__all__ = [
    "AddPrefix",
    "BasicAuth",
    "Copy",
    "Cors",
    "Mirror",
    "RequireBasicAuth",
    "ReverseUrls",
    "RewriteHost",
    "RewritePath",
    "SetHeaders",
    "StripPrefix",
    "TransformBodies",
    "add_prefix",
    "basic_auth",
    "rewrite_cookie",
    "rewrite_refresh",
    "rewrite_url",
    "strip_prefix",
]
