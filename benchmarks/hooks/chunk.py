def on_response_chunk(context, chunk):
    return chunk
