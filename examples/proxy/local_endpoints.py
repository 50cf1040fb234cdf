"""Endpoints of your own beside those of an upstream, with pydantic models.

python local_endpoints.py http://localhost:8080
"""

import sys

import pydantic

from rolo import Request, Router, route
from rolo.gateway import Gateway
from rolo.gateway.handlers import RouterHandler
from rolo.proxy import ProxyHandler
from rolo.routing import handler_dispatcher
from rolo.serving import serve


class Item(pydantic.BaseModel):
    name: str
    price: float


@route("/items/<int:item_id>", methods=["PUT"])
def put_item(request: Request, item_id: int, item: Item):
    return {"id": item_id, "name": item.name}


proxy = ProxyHandler(sys.argv[1])
router = Router(dispatcher=handler_dispatcher())
router.add(put_item)
router.add("/api/<path:path>", lambda request, path: proxy(request, path=path))

# What no route matches goes to the upstream as it is.
server = serve(Gateway(request_handlers=[RouterHandler(router), proxy]), port=0)
print(server.url, flush=True)
server.wait()
