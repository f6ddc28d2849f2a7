"""What the chat counts, each process for itself."""

from observability.metrics import counter, gauge, histogram

CONNECTIONS = gauge(
    "websocket_connections_total",
    "WebSocket connections that are open now, in this process. A gauge, for all its name.",
)

RECEIVED = ("auth", "chat", "ping", "history", "moderation", "invalid")
MESSAGES = counter(
    "websocket_messages_total", "Messages received from clients; invalid is what breaks the protocol.", type=RECEIVED
)
SECONDS = histogram(
    "websocket_message_duration_seconds",
    "From a client's message until it is dealt with; of a chat message, until it is stored and acknowledged.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    type=RECEIVED,
)

SENT_TYPES = ("hello", "entry", "ack", "pong", "history", "present", "standing", "status", "done", "error")
SENT = counter("websocket_messages_sent_total", "Messages sent to clients.", type=SENT_TYPES)

OUTCOMES = (
    "success",
    "failure",  # a token or a session that is not good (any more)
    "timeout",  # nothing within the deadline
    "guest",  # a public room, read without an account
)
AUTH = counter("websocket_auth_total", "Connections that proved who they are, or did not.", outcome=OUTCOMES)

REASONS = (
    "client",  # closed by the client, or its page was left
    "lost",  # cut off without a word
    "restart",  # this process stops
    "idle",
    "auth_timeout",
    "unauthenticated",  # signed out, or never signed in
    "forbidden",  # not a member (any more)
    "banned",
    "not_found",
    "too_many",  # connections of one user or address
    "too_fast",
    "too_big",
    "protocol",
    "slow",  # did not take what it was sent
    "unavailable",  # the database was away, or went back to an earlier state
    "error",
)
DISCONNECTS = counter("websocket_disconnects_total", "Connections that ended.", reason=REASONS)

PUBLISHED = counter(
    "chat_wake_ups_total",
    "Word to the other processes that there is something new; after a failure they find it by themselves.",
    outcome=("sent", "failed"),
)
