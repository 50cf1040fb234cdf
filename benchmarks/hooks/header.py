def on_response(context, response):
    response.headers["X-Edge"] = "rolo"
