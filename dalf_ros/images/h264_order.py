"""Whether a picture of H.264 follows the one before: FFmpeg goes on after a lost picture with what it has, which shows a wrong image.

ITU-T H.264, 7.3.2.1 (sequence parameters), 7.3.3 (slice header), 7.4.3 (frame_num: one more than that of the last reference picture).
"""
from __future__ import annotations

from collections.abc import Iterator

SLICE, IDR_SLICE, SEQUENCE = 1, 5, 7        # types of NAL units
_WITH_CHROMA_FORMAT = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)      # profiles


class PictureOrder:
    """Fed with every message of one stream, in order."""

    def __init__(self) -> None:
        self._bits = 0              # of frame_num; 0 before the sequence parameters
        self._color_planes = False
        self._last: int | None = None

    def follows(self, data: bytes) -> bool:
        """Whether no reference picture is missing between the last message and this one."""
        for kind, reference, payload in nal_units(data):
            if kind == SEQUENCE:
                self._read_sequence(payload)
            elif kind in (SLICE, IDR_SLICE) and self._bits:
                return self._see(self._frame_number(payload), kind == IDR_SLICE, reference)
        return True

    def _see(self, number: int, is_idr: bool, reference: bool) -> bool:
        follows = is_idr or self._last is None or (number - self._last) % (1 << self._bits) in (0, 1)
        if reference:
            self._last = number
        return follows

    def _frame_number(self, payload: bytes) -> int:
        bits = _Bits(payload[:32])
        for _ in range(3):          # first_mb_in_slice, slice_type, pic_parameter_set_id
            bits.exp_golomb()
        if self._color_planes:
            bits.read(2)
        return bits.read(self._bits)

    def _read_sequence(self, payload: bytes) -> None:
        bits = _Bits(payload)
        profile = bits.read(24) >> 16
        bits.exp_golomb()           # seq_parameter_set_id
        self._color_planes = False
        if profile in _WITH_CHROMA_FORMAT:
            chroma_format = bits.exp_golomb()
            self._color_planes = chroma_format == 3 and bits.read(1) == 1
            bits.exp_golomb(), bits.exp_golomb(), bits.read(1)      # bit depths, qpprime_y_zero_transform_bypass_flag
            if bits.read(1):
                for number in range(12 if chroma_format == 3 else 8):
                    bits.skip_scaling_list(16 if number < 6 else 64)
        self._bits = bits.exp_golomb() + 4


def nal_units(data: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """Type, whether others refer to it, and payload (emulation prevention undone in its first 512 bytes) of each unit in Annex B."""
    at = data.find(b"\x00\x00\x01")
    while 0 <= at < len(data) - 3:
        end = data.find(b"\x00\x00\x01", at + 3)
        head, last = data[at + 3], len(data) if end < 0 else end
        yield head & 0x1F, bool(head >> 5 & 3), data[at + 4: min(at + 516, last)].replace(b"\x00\x00\x03", b"\x00\x00")
        at = end


class _Bits:
    """Reads bits, the highest first; zeros beyond the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        return (self._value >> self._left if self._left >= 0 else 0) & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        zeros = 0
        while zeros < 32 and self._left > 0 and not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def skip_scaling_list(self, size: int) -> None:
        last = following = 8
        for _ in range(size if self.read(1) else 0):
            if following:
                code = self.exp_golomb()
                following = (last + (code + 1 >> 1 if code & 1 else -(code >> 1))) % 256
            last = following or last
