"""A reverse proxy in a program of your own.

python reverse_proxy.py http://localhost:8080
"""

import sys

from rolo.gateway import Gateway
from rolo.proxy import ProxyHandler
from rolo.serving import serve

handler = ProxyHandler(sys.argv[1])
server = serve(Gateway(request_handlers=[handler]), port=0, mode="loop")
print(server.url, flush=True)
server.wait()
