"""How far this machine's clock is from another's: tokens, signatures and codes are good for seconds or minutes."""

from datetime import datetime

from django.utils import timezone

from .findings import Finding, error, ok, warning

GOOD_SECONDS = 2.0
BAD_SECONDS = 30.0  # authenticator apps' codes are good for as long
REMEDY = "Have the clock set over the network: apt-get install chrony (or systemd-timesyncd), on both machines."


def compared(whose: str, theirs: datetime, *, asked_at: datetime, exact_to_seconds: float = 0.0) -> Finding:
    """What is to be said about another's clock.

    Args:
        theirs: what it showed, at some moment between `asked_at` and now.
        exact_to_seconds: how coarsely it tells the time.
    """
    now = timezone.now()
    ahead = (theirs - now).total_seconds()  # of ours, at least so much if it is positive
    behind = (asked_at - theirs).total_seconds() - exact_to_seconds
    off = max(ahead, behind, 0.0)
    if off <= GOOD_SECONDS:
        return ok(f"{whose} clock agrees with this machine's.")
    text = f"{whose} clock is {off:.0f} seconds {'ahead of' if ahead > behind else 'behind'} this machine's."
    return warning(text, REMEDY) if off <= BAD_SECONDS else error(text, REMEDY)
