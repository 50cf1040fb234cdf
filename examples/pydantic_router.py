import pydantic
from werkzeug import Request
from werkzeug.serving import run_simple

from rolo import Router, route

class Item(pydantic.BaseModel):
    name: str
    price: float
    is_offer: bool | None = None

@route("/", methods=["GET"])
def read_root(request: Request):
    return {"Hello": "World"}

@route("/items/<int:item_id>", methods=["GET"])
def read_item(request: Request, item_id: int):
    return {"item_id": item_id, "q": request.query_string}

@route("/items/<int:item_id>", methods=["PUT"])
def update_item(request: Request, item_id: int, item: Item):
    return {"item_name": item.name, "item_id": item_id}

router = Router()
router.add(read_root)
router.add(read_item)
router.add(update_item)

# convert Router to a WSGI app and serve it through werkzeug
run_simple("localhost", 8080, router.wsgi(), use_reloader=True)
