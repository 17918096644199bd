"""Who goes through, who is held and who is turned away, by a clock that is moved by hand."""

from __future__ import annotations

from amends.participants.limits import Limits, Rate
from amends.participants.worker.turnstile import HOLD_S, Turnstile


class Gate:
    """A turnstile over numbers, for the commands `work` (limited) and `other`."""

    def __init__(self, held_max: int = 4, **limits: object) -> None:
        self.now = 100.0
        self.turnstile: Turnstile[int] = Turnstile(
            {"work": Limits(**limits), "other": Limits()},  # type: ignore[arg-type]
            held_max=held_max,
            clock=lambda: self.now,
        )

    def arrive(self, *numbers: int) -> list[int]:
        """Those of these that go through at once."""
        return [one for number in numbers for one in self.turnstile.arrive(number, "work", number).through]

    def away(self, number: int) -> float:
        """For how long this one is turned away."""
        ((_, seconds),) = self.turnstile.arrive(number, "work", number).away
        return seconds

    def later(self, seconds: float) -> list[int]:
        """Those that go through as time passes."""
        self.now += seconds
        return self.turnstile.tick().through


def test_as_many_as_may_go_through_and_the_next_in_the_order_they_came() -> None:
    """Guard: who arrives stands behind those that are held."""
    gate = Gate(concurrency=2)

    assert gate.arrive(1, 2, 3, 4) == [1, 2]
    assert gate.turnstile.left(2).through == [3]
    assert gate.arrive(5) == []
    assert gate.turnstile.left(1).through == [4]
    assert gate.turnstile.left(4).through == [5]
    assert [gate.turnstile.left(one).through for one in (3, 5, 5, 99)] == [[], [], [], []]
    assert gate.arrive(6, 7, 8) == [6, 7]


def test_in_any_window_no_more_begin_than_the_rate_says() -> None:
    gate = Gate(held_max=10, rate=Rate(3, 60.0))

    assert gate.arrive(1) == [1]
    assert gate.later(2) == []
    assert gate.arrive(2, 3, 4, 5, 6) == [2, 3]
    for done in (1, 2, 3):
        assert gate.turnstile.left(done).through == []
    assert gate.later(57.9) == []  # Those that were held have been turned away meanwhile.
    assert gate.arrive(7) == []
    assert gate.later(0.1) == [7]
    assert gate.arrive(8) == []  # 2 and 3 are within the last minute.


def test_held_commands_go_when_the_rate_lets_them() -> None:
    gate = Gate(rate=Rate(2, 1.0))

    assert gate.arrive(1, 2, 3, 4, 5) == [1, 2]
    assert gate.later(0.5) == []
    assert gate.later(0.5) == [3, 4]
    assert gate.later(0.9) == []
    assert gate.later(0.1) == [5]
    assert gate.turnstile.idle


def test_what_is_held_for_long_is_turned_away_before_its_step_times_out() -> None:
    gate = Gate(concurrency=1)
    gate.arrive(1, 2, 3)

    gate.now += HOLD_S
    moved = gate.turnstile.tick()

    assert moved.through == []
    assert [item for item, _ in moved.away] == [2, 3]
    assert gate.turnstile.idle


def test_those_turned_away_are_told_turns_one_after_another() -> None:
    """Neither all at once nor never: three held and those sent away before are ahead of each."""
    gate = Gate(held_max=3, rate=Rate(2, 10.0))
    gate.arrive(1, 2, 3, 4, 5)

    assert [gate.away(number) for number in (6, 7, 8, 9)] == [20.0, 30.0, 30.0, 40.0]


def test_with_a_limit_on_number_a_turn_is_guessed_by_what_the_others_took() -> None:
    gate = Gate(held_max=1, concurrency=1)
    gate.arrive(1, 2)
    first = gate.away(3)
    second = gate.away(4)

    assert (first, second) == (2.0, 3.0)


def test_what_the_broker_took_back_is_no_more_held() -> None:
    gate = Gate(concurrency=1)
    gate.arrive(1, 2, 3)

    gate.turnstile.forget_held()

    assert gate.turnstile.idle
    assert gate.turnstile.left(1).through == []
    assert gate.arrive(2) == [2]


def test_a_handler_without_such_limits_has_no_line() -> None:
    gate = Gate(concurrency=1)

    assert gate.turnstile.limits("work")
    assert not gate.turnstile.limits("other")
    assert not gate.turnstile.limits("unheard of")
