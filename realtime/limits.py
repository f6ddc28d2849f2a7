"""How fast and how often: token buckets, and how many connections one user or network has in this process."""

import time
from collections import Counter
from collections.abc import Hashable


class Bucket:
    """Holds `burst` tokens at most, and gets `rate` more a second; each thing that is done takes one."""

    __slots__ = ("_at", "_left", "burst", "rate")

    def __init__(self, *, burst: float, rate: float) -> None:
        self.burst = burst
        self.rate = rate
        self._left = burst
        self._at = time.monotonic()

    def take(self) -> float:
        """Take a token; 0.0 where there was one, else the seconds until there will be."""
        now = time.monotonic()
        self._left = min(self.burst, self._left + (now - self._at) * self.rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self.rate

    def is_full(self) -> bool:
        """Whether it has nothing to remember."""
        return self._left + (time.monotonic() - self._at) * self.rate >= self.burst


class Places:
    """Counts who holds how many of something, up to `most` each."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: Counter[Hashable] = Counter()

    def take(self, who: Hashable) -> bool:
        """One more for `who`; False where they have all that they may have."""
        if self._held[who] >= self.most:
            return False
        self._held[who] += 1
        return True

    def give_back(self, who: Hashable) -> None:
        """One less for `who`."""
        self._held[who] -= 1
        if self._held[who] <= 0:
            del self._held[who]

    def __len__(self) -> int:
        return len(self._held)
