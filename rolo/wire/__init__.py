"""The rules of what goes over the wire: bytes in, values out, and back. No I/O, no clock."""
