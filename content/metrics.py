"""What was opened and what was refused; what was played is a fact (`content.facts`)."""

from observability.metrics import UNKNOWN, counter

TYPES = ("public", "private")
MOST_PATHS = 200
OTHER = "other"

ACCESS = counter(
    "content_access_total",
    "Pages of the library's items that were opened by somebody who may see them whole; private are members' items.",
    type=TYPES,
    path=UNKNOWN,
)

REASONS = (
    "sign_in",  # a members' item, and nobody is signed in
    "no_membership",  # signed in, never a member
    "lapsed",  # signed in, no member any more
    "not_published",  # a draft, or scheduled
    "bad_link",  # a signature that is none of ours
    "expired_link",
    "other_user",  # a link that was made for somebody else
)
DENIED = counter("content_denied_total", "Requests for an item or its file that were refused.", reason=REASONS)
