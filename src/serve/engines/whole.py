"""Reads an answer that comes whole, however its server packs it."""

import zlib

from src.serve.engines.client import Response

LARGEST = 64 << 20  # bytes


async def whole(response: Response) -> bytes:
    """All of an answer; raises ValueError where that is too much, or packed in a way that nobody asked for."""
    data = bytearray()
    while piece := await response.more():
        data += piece
        if len(data) > LARGEST:
            raise ValueError("too large")
    return _unpacked(bytes(data)) if response.headers.get("content-encoding") in ("gzip", "deflate") else bytes(data)


def _unpacked(data: bytes) -> bytes:
    """Of a server that packs its answers whatever it is asked for."""
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        found = unpacking.decompress(data, LARGEST)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise ValueError("too large, or cut")
    return found
