def on_client_message(context, message):
    return message


on_upstream_message = on_client_message
