"""A name server that knows one address, whatever it is asked."""

import socket
import struct
import threading

from tests.support.stubs import HOST

_A, _IN = 1, 1


class Dns:
    """Answers on a thread until it is closed."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def place(self) -> str:
        return f"{HOST}:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        # A datagram without a question ends the thread.
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            asked, peer = self._socket.recvfrom(512)
            if not asked:
                return
            self._socket.sendto(self._answer(asked), peer)

    def _answer(self, asked: bytes) -> bytes:
        """See RFC 1035, section 4: the question again, and for IPv4 its answer."""
        name_end = asked.index(b"\x00", 12) + 1
        question = asked[12 : name_end + 4]
        known = struct.unpack("!H", question[-4:-2])[0] == _A
        answer = asked[:2] + struct.pack("!HHHHH", 0x8180, 1, int(known), 0, 0) + question
        if known:
            answer += struct.pack("!HHHIH", 0xC00C, _A, _IN, 1, 4) + socket.inet_aton(self.address)
        return answer
