"""The judge of the soak (`make soak`), by runs that are made up: leaks are told from what is flat, noisy or filling."""

import random
from collections.abc import Callable

import pytest

from e2e.soak.judge import Allowance, Judgement, Sample, TooFew, judged, table, warm_up

MEMORY = Allowance(8, 0.04)


def judge(value: Callable[[float], float], *, minutes: int = 60, allowance: Allowance = MEMORY) -> Judgement:
    samples = [Sample(at, {"memory": value(at)}) for at in range(0, minutes * 60 + 1, 15)]
    return judged(samples, measure="memory", allowance=allowance)


@pytest.mark.parametrize("minutes", [10, 60])
def test_what_is_flat_does_not_grow(minutes: int) -> None:
    assert not judge(lambda at: 180.0, minutes=minutes).grows


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_growth(seed: int) -> None:
    noise = random.Random(seed)
    assert not judge(lambda at: 180 + noise.gauss(0, 12)).grows


def test_now_and_then_a_peak_is_no_growth() -> None:
    assert not judge(lambda at: 180 + (400 if int(at) % 300 == 0 else 0)).grows


@pytest.mark.parametrize("minutes", [10, 60])
@pytest.mark.parametrize("seed", range(5))
def test_a_leak_grows_however_noisy(minutes: int, seed: int) -> None:
    noise = random.Random(seed)
    found = judge(lambda at: 180 + at / 30 + noise.gauss(0, 3), minutes=minutes)
    assert found.grows
    assert found.rise == pytest.approx((minutes * 60 - warm_up(minutes * 60)) / 30, rel=0.5)


def test_a_leak_in_steps_grows() -> None:
    assert judge(lambda at: 40 + at // 120, allowance=Allowance(10)).grows


def test_what_is_warming_up_is_left_out() -> None:
    assert not judge(lambda at: 80 + min(at, 800) / 8).grows


def test_what_fills_up_and_then_stays_does_not_grow() -> None:
    assert not judge(lambda at: 100 + min(at, 1500) / 20).grows


def test_what_shrinks_does_not_grow() -> None:
    assert not judge(lambda at: 400 - at / 30).grows


def test_a_rise_that_is_allowed_does_not_grow() -> None:
    assert not judge(lambda at: 1000 + at / 120).grows


def test_a_run_that_is_too_short_is_not_judged() -> None:
    with pytest.raises(TooFew, match="run longer"):
        judge(lambda at: 180, minutes=1)


def test_a_measure_that_was_never_taken_is_not_judged() -> None:
    with pytest.raises(TooFew, match="descriptors"):
        judged([Sample(at, {}) for at in range(0, 3600, 15)], measure="descriptors", allowance=MEMORY)


def test_the_table_marks_what_grows() -> None:
    lines = table([judge(lambda at: 180 + at / 30), judge(lambda at: 180)]).splitlines()
    assert [line.endswith("GROWS") for line in lines] == [False, True, False]
