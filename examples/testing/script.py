"""Without pytest: a harness in a script."""

import urllib.request

from rolo.harness import Harness

with Harness() as api:
    api.get("/price").returns({"price": 42})
    with urllib.request.urlopen(f"{api.url}/price") as answer:
        print(answer.read().decode())
    print(api.transcript())
