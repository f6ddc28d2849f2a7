"""Sign-in attempts and mails, as they happen."""

from observability.metrics import counter

ATTEMPTS = counter(
    "auth_attempts_total",
    "Attempts to register, to sign in, and to use a token (jwt: refreshes, and bearer tokens that failed).",
    type=("login", "register", "jwt"),
    success=("true", "false"),
)
MAILS = counter(
    "mails_total",
    "Mails handed to the mail server, by what came of it; a failed one is tried again.",
    outcome=("sent", "failed", "given_up"),
)


def attempt(type: str, *, success: bool) -> None:
    """Count one attempt of type login, register or jwt."""
    ATTEMPTS.labels(type, "true" if success else "false").inc()
