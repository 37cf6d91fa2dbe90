"""The one rule for images that change their resolution: one of another is skipped, two in a row begin anew. Sizes are (width, height)."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


class SizeGuard:
    """Tells images of another resolution. size: that of the images; None while it is not known, then the first one's is taken."""

    def __init__(self, size: tuple[int, int] | None = None) -> None:
        self.size = size
        self._odd: tuple[int, int] | None = None        # of the last image where it was another

    def check(self, width: int, height: int) -> str:
        """Take the next image's size. Empty, or in words that tracking is to begin anew, as it is the second of another size in a row.

        Raises ValueError on the first of another size, which is to be skipped.
        """
        size, before = (width, height), self.size
        if before is None or size == before:
            self.size, self._odd = size, None
            return ""
        change = f"{width}x{height}, not {before[0]}x{before[1]}"
        if size != self._odd:
            self._odd = size
            raise ValueError(f"an image of {change} is skipped; if the next one is so too, tracking starts anew")
        self.size, self._odd = size, None
        return f"images are now {change}: tracking starts anew"


def commonest_size(sizes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    """The size that most images have, of a tie the one that comes first; None without images."""
    return next((size for size, _ in Counter(sizes).most_common(1)), None)
