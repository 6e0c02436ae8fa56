"""The pieces of a body as they come. Pure."""

#: Bytes below which the last piece grows, rather than that there is one more: each takes memory.
_TINY = 1024


def append_piece(pieces: list[bytes], piece: bytes) -> None:
    """Add a piece. Tiny ones become one: a caller may send a body byte by byte."""
    if pieces and len(pieces[-1]) < _TINY:
        pieces[-1] += piece
    else:
        pieces.append(piece)
