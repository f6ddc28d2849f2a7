"""Watch time: whatever players tell, in whatever order, no more is credited than the clock went on."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import membership
from accounts.models import User
from accounts.tests.threads import at_once
from content import players, viewings
from content.models import Item, MediaFile, Player, Viewing
from content.tests import rows
from content.viewings import SLACK, Beacon, span
from observability import refresh

NOBODY = AnonymousUser()
SLACK_SECONDS = SLACK.total_seconds()
IN_DATABASE = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@dataclass
class Page:
    """A page load with a player, at times of its own: seconds after `begin`."""

    item: Item
    begin: datetime
    user: Any = NOBODY
    device: str = "a"
    opened: float = 0
    sequence: int = 0
    token: str = field(init=False)

    def __post_init__(self) -> None:
        media = self.item.media
        assert media is not None
        self.token = players.token(self.item, media, self.user, at=self.at(self.opened))

    def at(self, seconds: float) -> datetime:
        return self.begin + timedelta(seconds=seconds)

    def tells(self, played: float, *, at: float, sequence: int | None = None, **more: Any) -> bool:
        self.sequence += 1
        values = {"position_seconds": 0.0, **more}
        beacon = Beacon(sequence=sequence or self.sequence, played_seconds=played, **values)
        claims = players.read(self.token)
        assert claims is not None
        return viewings.tell(beacon, claims, user=self.user, device=self.device, at=self.at(at))


@pytest.fixture
def page(db: None) -> Callable[..., Page]:
    """A page with a player of one and the same film; by default, of a stranger."""
    film, begin = rows.film(published_at=rows.days_ago(3)), timezone.now() - timedelta(hours=3)
    return partial(Page, item=film, begin=begin)


def credited() -> list[float]:
    return [round(seconds, 6) for seconds in Viewing.objects.order_by("pk").values_list("played_seconds", flat=True)]


# The clock's pieces


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.floats(-600, 600)), max_size=40),
)
def test_pieces_of_the_clock_never_overlap_nor_run_far_ahead(told: list[tuple[float, float]]) -> None:
    """However much is claimed at each step, and however the clock steps, back too."""
    start = now = until = datetime(2026, 1, 1, tzinfo=timezone.get_current_timezone())
    latest = start
    total = 0.0
    for claimed, passed in told:
        now += timedelta(seconds=passed)
        latest = max(latest, now)
        begin, end = span(claimed, counted_until=until, now=now)
        assert until <= begin <= end
        assert (end - begin).total_seconds() <= claimed + 1e-5
        total += (end - begin).total_seconds()
        until = end
    assert total <= (latest - start).total_seconds() + SLACK_SECONDS + 1e-3


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 1)), min_size=1, max_size=30))
def test_what_one_player_plays_is_credited_whole(steps: list[tuple[float, float]]) -> None:
    """Some of each stretch of time is played, and told at its end."""
    now = until = datetime(2026, 1, 1, tzinfo=timezone.get_current_timezone())
    told = total = 0.0
    for passed, share in steps:
        now += timedelta(seconds=passed)
        told += passed * share
        begin, end = span(passed * share, counted_until=until, now=now)
        total += (end - begin).total_seconds()
        until = end
    assert total == pytest.approx(told, abs=1e-3)


# One player


@pytest.mark.django_db
@IN_DATABASE
@given(
    plan=st.lists(st.tuples(st.floats(0.1, 20), st.floats(0, 1)), min_size=1, max_size=12),
    noise=st.data(),
)
def test_lost_repeated_and_reordered_beacons_change_nothing_once_the_last_one_came(
    plan: list[tuple[float, float]], noise: st.DataObject
) -> None:
    Viewing.objects.all().delete()
    page = Page(rows.film(), timezone.now() - timedelta(hours=3))
    sent, clock, played = [], 0.0, 0.0
    for number, (passed, share) in enumerate(plan, 1):
        clock, played = clock + passed, played + passed * share
        sent.append((number, played, clock))
    arriving = [one for one in sent[:-1] if noise.draw(st.booleans(), label="arrives")] + [sent[-1]]
    for number, told, at in arriving:
        page.tells(told, at=at, sequence=number)
        for again in noise.draw(st.lists(st.sampled_from(sent[:number]), max_size=2), label="come again, late"):
            assert page.tells(again[1], at=at, sequence=again[0]) is False

    assert sum(credited()) == pytest.approx(played, abs=0.001 * len(sent))
    assert Viewing.objects.count() == 1


@pytest.mark.django_db
@IN_DATABASE
@given(
    tells=st.lists(
        st.tuples(st.sampled_from([0, 1, 2]), st.floats(0, 1e5), st.floats(-30, 400)), min_size=1, max_size=15
    )
)
def test_whatever_players_of_one_device_claim_the_clock_bounds_it(tells: list[tuple[int, float, float]]) -> None:
    Viewing.objects.all().delete()
    film, begin = rows.film(), timezone.now() - timedelta(hours=3)
    tabs = [Page(film, begin) for _ in range(3)]
    clock = latest = 0.0
    for tab, played, passed in tells:
        clock = max(clock + passed, 0)
        latest = max(latest, clock)
        tabs[tab].tells(played, at=clock)

    assert all(seconds >= 0 for seconds in credited())
    assert sum(credited()) <= latest + SLACK_SECONDS * Viewing.objects.count() + 0.01


def test_a_player_that_claims_more_than_the_clock_gets_what_the_clock_allows(page: Callable[..., Page]) -> None:
    boaster = page()
    boaster.tells(1_000, at=10)
    boaster.tells(5_000, at=20)
    assert credited() == [20 + SLACK_SECONDS]  # once, not with each beacon


def test_what_was_played_while_the_network_was_away_is_told_by_the_next_beacon(page: Callable[..., Page]) -> None:
    film = page()
    film.tells(10, at=10)
    film.tells(130, at=130)  # everything in between was lost
    assert credited() == [130]


def test_a_beacon_on_its_way_for_longer_than_the_next_costs_nothing(page: Callable[..., Page]) -> None:
    film = page()
    film.tells(10, at=11.5)
    film.tells(20, at=20.1)
    film.tells(30, at=30.1)
    assert credited() == [30]


def test_a_player_that_tells_less_than_before_takes_nothing_back(page: Callable[..., Page]) -> None:
    film = page()
    film.tells(30, at=30)
    film.tells(5, at=40)
    film.tells(35, at=60)
    assert credited() == [35]


def test_after_long_silence_another_viewing_begins_and_the_first_stays_as_it_was(page: Callable[..., Page]) -> None:
    film = page()
    film.tells(60, at=60)
    before = Viewing.objects.values().get()
    film.tells(70, at=60 + 301)

    assert Viewing.objects.values().get(pk=before["id"]) == before
    assert credited() == [60, 10]
    begun = Viewing.objects.latest("pk")
    assert begun.started_at == film.at(351)


def test_a_pause_shorter_than_that_belongs_to_the_viewing(page: Callable[..., Page]) -> None:
    film = page()
    film.tells(60, at=60)
    film.tells(70, at=60 + 299)
    assert credited() == [70]


def test_a_reload_goes_on_with_the_viewing(page: Callable[..., Page]) -> None:
    page().tells(30, at=30)
    page(opened=32).tells(10, at=43)
    assert credited() == [40]
    assert Player.objects.count() == 2


def test_a_page_that_was_open_for_a_day_credits_no_more_than_an_hour_at_once(page: Callable[..., Page]) -> None:
    page(opened=-20 * 3600).tells(20 * 3600, at=0)
    assert credited() == [3600 + SLACK_SECONDS]


def test_a_token_begins_nothing_after_a_day(page: Callable[..., Page]) -> None:
    late = page(opened=-25 * 3600)
    with pytest.raises(viewings.Refused) as refused:
        late.tells(10, at=0)
    assert refused.value.code == "expired_token"
    assert not Viewing.objects.exists()


def test_a_player_that_has_told_before_may_go_on_after_a_day(page: Callable[..., Page]) -> None:
    tab = page(opened=-25 * 3600)
    tab.tells(10, at=-25 * 3600 + 10)
    assert tab.tells(20, at=0)
    assert credited() == [10, 10]


def test_page_loads_that_were_silent_for_two_days_are_forgotten_and_what_they_told_stays(
    page: Callable[..., Page],
) -> None:
    page().tells(10, at=10)
    assert viewings.sweep() == 0
    assert viewings.sweep(at=timezone.now() + timedelta(hours=49)) == 1
    assert credited() == [10]


def test_every_hour_a_tick_forgets_them(page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch) -> None:
    page().tells(10, at=10)
    Player.objects.update(updated_at=timezone.now() - timedelta(hours=49))
    monkeypatch.setattr(viewings, "_swept_at", time.monotonic() - 3500)
    refresh.tick()
    assert Player.objects.count() == 1
    monkeypatch.setattr(viewings, "_swept_at", time.monotonic() - 3700)
    refresh.tick()
    assert Player.objects.count() == 0


def test_a_player_cannot_tell_more_often_than_players_do(page: Callable[..., Page], metric: Any) -> None:
    before = metric("security_events_total", type="rate_limited")
    film = page()
    film.tells(1, at=5, sequence=35)
    with pytest.raises(viewings.TooOften):
        film.tells(1, at=5, sequence=36)
    assert metric("security_events_total", type="rate_limited") == before + 1


def test_a_clock_put_back_takes_nothing_away_and_gives_nothing_twice(page: Callable[..., Page]) -> None:
    film = page()
    film.tells(60, at=60)
    film.tells(70, at=30)
    assert credited() == [60]
    film.tells(80, at=70)
    assert credited() == [70]


def test_a_clock_put_back_by_hours_does_not_stop_the_counting(page: Callable[..., Page]) -> None:
    film = page()
    film.tells(60, at=4_000)
    for second in range(10, 101, 10):
        film.tells(60 + second, at=100 + second)
    assert credited() == [60, 100]


# Several of them


def test_two_tabs_at_once_are_one_viewing_and_their_time_counts_once(page: Callable[..., Page]) -> None:
    one, other = page(), page()
    for second in range(10, 101, 10):
        one.tells(second, at=second)
        other.tells(second, at=second + 0.2)
    assert len(credited()) == 1
    assert 100 <= credited()[0] <= 100.2 + SLACK_SECONDS


def test_a_pause_is_not_filled_by_a_second_tab(page: Callable[..., Page]) -> None:
    one, other = page(), page()
    one.tells(10, at=10)
    for second in range(10, 101, 10):  # both play after a pause of 200 s
        one.tells(10 + second, at=210 + second)
        other.tells(second, at=210.2 + second)
    assert credited()[0] <= 10 + 100 + 2 * SLACK_SECONDS


def test_two_devices_are_two_viewings(page: Callable[..., Page]) -> None:
    one, other = page(device="a"), page(device="b")
    one.tells(10, at=10)
    other.tells(10, at=10)
    assert credited() == [10, 10]


def test_a_page_load_stays_with_its_device_whatever_it_says_later(page: Callable[..., Page]) -> None:
    film = page(device="a")
    film.tells(10, at=10)
    for number in range(20):
        film.device = f"another {number}"
        film.tells(11 + number, at=11 + number)
    assert len(credited()) == 1


def test_a_strangers_device_is_no_members(page: Callable[..., Page], member: User) -> None:
    page(user=member, device="a").tells(10, at=10)
    page(device="a").tells(10, at=10)
    assert sorted(Viewing.objects.values_list("user", flat=True), key=str) == sorted([None, member.pk], key=str)


@pytest.mark.django_db(transaction=True)
def test_beacons_at_the_same_moment_begin_one_viewing(page: Callable[..., Page]) -> None:
    for device in "abcdef":  # a race that is lost once is a race
        tabs = [page(device=device) for _ in range(6)]
        at_once(*[partial(tab.tells, 10.0 + index / 10, at=10) for index, tab in enumerate(tabs)])
    assert len(credited()) == 6
    assert max(credited()) <= 10 + SLACK_SECONDS
    assert Player.objects.count() == 36


@pytest.mark.django_db(transaction=True)
def test_one_players_beacons_at_the_same_moment_count_once(page: Callable[..., Page]) -> None:
    film = page()
    told = at_once(*[partial(film.tells, 5.0, at=10, sequence=1)] * 6)
    assert told.count(True) == 1
    assert credited() == [5]


# Who may


@pytest.mark.django_db
def test_time_up_to_the_end_of_a_membership_stays_and_no_more_comes(member: User, metric: Any) -> None:
    begin = timezone.now() - timedelta(hours=1)
    film = rows.film(visibility="members")
    given = membership.give(user=member, by=None, reason="a test")
    type(given).objects.update(starts_at=begin - timedelta(days=1), ends_at=begin + timedelta(seconds=60))
    tab = Page(film, begin, user=member)
    tab.tells(50, at=50)
    before = metric("content_denied_total", reason="lapsed")
    with pytest.raises(viewings.Refused) as refused:
        tab.tells(70, at=70)
    assert refused.value.code == "lapsed"
    assert metric("content_denied_total", reason="lapsed") == before + 1
    assert credited() == [50]


def test_an_item_that_is_gone_is_said_to_be(page: Callable[..., Page]) -> None:
    tab = page()
    Item.objects.all().delete()
    with pytest.raises(viewings.Gone):
        tab.tells(10, at=10)


def test_who_signs_out_does_not_go_on_with_the_members_page(page: Callable[..., Page], member: User) -> None:
    tab = page(user=member)
    tab.user = NOBODY
    with pytest.raises(viewings.Refused) as refused:
        tab.tells(10, at=10)
    assert refused.value.code == "other_user"


# What was seen


@pytest.mark.parametrize(
    ("segments", "duration", "parts"),
    [
        ([], 100, []),
        ([[0, 100]], 100, list(range(20))),
        ([[0, 5]], 100, [0]),
        ([[4.9, 5.1]], 100, [0, 1]),
        ([[95, 400]], 100, [19]),
        ([[50, 40]], 100, []),
        ([[200, 300]], 100, []),
        ([[0, 100]], None, []),
        ([[0, 1e-300]], 1e-300, list(range(20))),
    ],
)
def test_twentieths_that_were_touched(segments: Sequence[Sequence[float]], duration: float, parts: list[int]) -> None:
    bits = viewings.watched(segments, duration)
    assert [part for part in range(32) if bits >> part & 1] == parts


def test_what_was_seen_adds_up(page: Callable[..., Page]) -> None:
    film = page()
    film.tells(10, at=10, segments=[[0, 10]], duration_seconds=100.0)
    film.tells(20, at=20, segments=[[90, 100]], duration_seconds=100.0)
    assert bin(Viewing.objects.get().watched) == "0b11000000000000000011"


def test_the_file_knows_its_length_better_than_the_player(page: Callable[..., Page]) -> None:
    page()
    MediaFile.objects.update(duration_seconds=200.0)
    tab = page(item=Item.objects.get())
    tab.tells(10, at=10, segments=[[0, 10]], duration_seconds=10.0)
    row = Viewing.objects.get()
    assert (row.duration_seconds, row.watched) == (200.0, 1)


# Where one was


@pytest.mark.parametrize(("position", "found"), [(0, 0), (9.9, 0), (10, 10), (50, 50), (94.9, 94.9), (95, 0), (100, 0)])
def test_going_on_where_one_was(page: Callable[..., Page], member: User, position: float, found: float) -> None:
    tab = page(user=member)
    tab.tells(10, at=10, position_seconds=position, duration_seconds=100.0)
    assert viewings.position(member, tab.item) == found


def test_the_latest_device_says_where_one_was(page: Callable[..., Page], member: User) -> None:
    page(user=member, device="a").tells(10, at=10, position_seconds=60.0, duration_seconds=100.0)
    last = page(user=member, device="b")
    last.tells(10, at=20, position_seconds=20.0, duration_seconds=100.0)
    assert viewings.position(member, last.item) == 20


def test_nobody_goes_on_with_what_a_stranger_saw(page: Callable[..., Page]) -> None:
    tab = page()
    tab.tells(10, at=10, position_seconds=50.0)
    assert viewings.position(NOBODY, tab.item) == 0
    assert viewings.unfinished(NOBODY, 5) == []


@pytest.mark.django_db
def test_unfinished_are_the_latest_first_each_once(member: User, django_assert_max_num_queries: Any) -> None:
    begin = timezone.now() - timedelta(hours=1)
    films = [rows.film(title=f"Film {number}") for number in range(4)]
    for number, film in enumerate(films):
        for again in range(3):
            tab = Page(film, begin, user=member, device=str(again))
            tab.tells(20, at=100 * again + number + 20, position_seconds=20.0 + again, duration_seconds=100.0)
    seen = Page(films[3], begin, user=member)
    seen.tells(90, at=900, position_seconds=99.0, duration_seconds=100.0)

    with django_assert_max_num_queries(5):
        found = viewings.unfinished(member, 2)
    assert [(one.item.title, one.position_seconds, one.duration_seconds) for one in found] == [
        ("Film 2", 22.0, 100.0),
        ("Film 1", 22.0, 100.0),
    ]


@pytest.mark.django_db
def test_what_one_may_not_see_any_more_is_not_to_be_gone_on_with(member: User) -> None:
    begin = timezone.now() - timedelta(hours=1)
    given = membership.give(user=member, by=None, reason="a test")
    type(given).objects.update(starts_at=begin)
    Page(rows.film(visibility="members"), begin, user=member).tells(20, at=20, position_seconds=20.0)
    public = rows.film()
    Page(public, begin, user=member).tells(20, at=20, position_seconds=20.0)
    assert len(viewings.unfinished(member, 5)) == 2

    membership.end(type(given).objects.get())
    assert [one.item for one in viewings.unfinished(member, 5)] == [public]
    Item.objects.update(published_at=None)
    assert viewings.unfinished(member, 5) == []
