"""From a stream of bytes to frames, whatever the pieces in which they arrive."""

from podmirror_wire.codec import HEADER, MAX_FRAME_BYTES
from podmirror_wire.errors import FrameTooLarge, MalformedFrame
from podmirror_wire.frames import KINDS, AnyFrame


class Decoder:
    """Cuts frames out of received bytes. It holds at most one incomplete frame, so at most `max_frame_bytes`."""

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self.received = 0
        """Bytes of complete frames so far, skipped kinds included."""

    def receive_data(self, data: bytes) -> list[AnyFrame]:
        """Give the frames that `data` completes; kinds that are not known are skipped.

        Raises:
            FrameTooLarge: A length prefix is over the limit. Raised before the body is read.
            MalformedFrame: A length of zero, or a body that does not fit its kind.
        """
        self._buffer += data
        frames: list[AnyFrame] = []
        position = 0
        while len(self._buffer) - position >= HEADER.size:
            length, kind = HEADER.unpack_from(self._buffer, position)
            if length == 0:
                raise MalformedFrame("a frame of no bytes, not even a kind")
            if length > self._max_frame_bytes:
                raise FrameTooLarge(f"a frame of {length} bytes is over the limit of {self._max_frame_bytes}")
            end = position + HEADER.size - 1 + length
            if len(self._buffer) < end:
                break
            if kind in KINDS:
                frames.append(KINDS[kind].decode_body(bytes(self._buffer[position + HEADER.size : end])))
            self.received += end - position
            position = end
        del self._buffer[:position]
        return frames
