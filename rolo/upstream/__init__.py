"""The origin's side: connections, exchanges and websockets to where requests are forwarded."""
