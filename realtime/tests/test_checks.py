"""System checks of the chat."""

from typing import Any

from realtime.checks import processes_hear_of_each_other


def test_processes_that_cannot_hear_of_each_other_are_told_and_are_no_warning(settings: Any) -> None:
    settings.REDIS_URL, settings.CHAT_POLL_SECONDS = "", 3.0
    (message,) = processes_hear_of_each_other(None)
    assert message.id == "realtime.W001"
    assert "3 seconds later" in message.msg
    assert not message.is_serious()  # with one process there is nobody else to hear of


def test_with_redis_all_is_well(settings: Any) -> None:
    settings.REDIS_URL = "redis://redis.example:6379/0"
    assert processes_hear_of_each_other(None) == []
