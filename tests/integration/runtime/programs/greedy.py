"""Takes 200 MB of memory, and ends."""

taken = bytearray(200 * 1024 * 1024)
