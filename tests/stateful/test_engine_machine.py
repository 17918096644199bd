"""The engine as a state machine: random runs of everything that may happen to it, on real PostgreSQL.

`make test` takes the same runs each time, about twenty seconds of one core, and does not shrink one that fails: its
rules are printed, forty at the most. For others, and more of them, shrunk:

    make test ARGS="tests/stateful --hypothesis-profile=long --timeout=0"

`--hypothesis-seed=N` beside it repeats them.
"""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Engine

from tests.stateful.house import House
from tests.stateful.machine import EngineMachine

QUICK: Final = settings(
    max_examples=45,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(280)
def test_whatever_happens_the_engine_keeps_its_promises(
    coordinator_database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariants 1, 2, 3, 6, 10, 11, 12, 15, 16 and 17, and the rules M1, S1, S2, S3, O1, E1, E2 and E5 on the way.

    Seen to fail without each of: `seq` in Kept.is_of; SPENT_IDS in births._write; the copies in signals._hearing; the
    suspension in Starts.examine; DISARM_TIMERS of what is answered; a log entry for each event; the second command of
    an event in writing._post; the receipts of orders and reports; the death of owners in DISOWN_DEAD; the others of a
    batch in deciding._single_out.
    """
    run = type("Run", (EngineMachine,), {"house": House(coordinator_database, monkeypatch)})

    long = settings.get_current_profile_name() == "long"
    run_state_machine_as_test(run, settings=settings() if long else QUICK)
