"""From a stream of bytes to frames, whatever the pieces in which they arrive."""

from podmirror_wire.codec import HEADER, MAX_FRAME_BYTES
from podmirror_wire.errors import FrameTooLarge, MalformedFrame
from podmirror_wire.frames import KINDS, AnyFrame


class Decoder:
    """Cuts frames out of received bytes. It holds at most one incomplete frame, so at most `max_frame_bytes`."""

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self.max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self.received = 0
        """Bytes of complete frames so far, skipped kinds included. Whoever ends a handshake sets it to the session's count."""

    def receive_data(self, data: bytes) -> list[AnyFrame]:
        """Give the frames that `data` completes; kinds that are not known are skipped.

        Raises:
            FrameTooLarge: A length prefix is over the limit. Raised before the body is read.
            MalformedFrame: A length of zero, or a body that does not fit its kind.
        """
        return self._take(data, len(self._buffer) + len(data))

    def receive_one(self, data: bytes = b"") -> AnyFrame | None:
        """Give the first frame that is complete, if there is one, and keep what comes behind it for the next call.

        Raises:
            FrameTooLarge: As above.
            MalformedFrame: As above.
        """
        frames = self._take(data, 1)
        return frames[0] if frames else None

    def _take(self, data: bytes, most: int) -> list[AnyFrame]:
        self._buffer += data
        frames: list[AnyFrame] = []
        position = 0
        while len(self._buffer) - position >= HEADER.size and len(frames) < most:
            length, kind = HEADER.unpack_from(self._buffer, position)
            if length == 0:
                raise MalformedFrame("a frame of no bytes, not even a kind")
            if length > self.max_frame_bytes:
                raise FrameTooLarge(f"a frame of {length} bytes is over the limit of {self.max_frame_bytes}")
            end = position + HEADER.size - 1 + length
            if len(self._buffer) < end:
                break
            if kind in KINDS:
                frames.append(KINDS[kind].decode_body(bytes(self._buffer[position + HEADER.size : end])))
            self.received += end - position
            position = end
        del self._buffer[:position]
        return frames
