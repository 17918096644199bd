"""Many runs, on every core; and one run as a story."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Final, NamedTuple

from amends.coordinator.simulating.running import Run
from amends.coordinator.simulating.telling import event_in_words

_CHUNK: Final = 20


class Failure(NamedTuple):
    """A run that broke an invariant: its number (empty for an error of another kind), and what was seen."""

    seed: int
    invariant: str
    text: str


class Moment(NamedTuple):
    """Something that happened in a run, `at` ms after its beginning."""

    at: int
    who: str
    what: str


@dataclass(slots=True)
class Simulated:
    """What became of some runs. `counts` tells what happened in those that held."""

    runs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: Simulated) -> None:
        """With others."""
        self.runs += other.runs
        self.counts += other.counts
        self.failures += other.failures


def simulate(seeds: range) -> Simulated:
    """Play these runs in this process."""
    simulated = Simulated()
    with _quiet():
        for seed in seeds:
            run = Run(seed)
            failure = _play(run)
            simulated.runs += 1
            if failure is None:
                simulated.counts += run.counts
            else:
                simulated.failures.append(failure)
    return simulated


def simulate_with(seeds: range, jobs: int, told: Callable[[Simulated], None]) -> None:
    """Play these runs in `jobs` processes. `told` hears of each few that are done; what it raises ends it all."""
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    if jobs == 1:
        for chunk in chunks:
            told(simulate(chunk))
        return
    with ProcessPoolExecutor(jobs, initializer=_follow_the_parent) as pool:
        # A process that is only just beginning would die of one, and the pool with it.
        try:
            with _interrupts_wait():
                left: set[Future[Simulated]] = {pool.submit(simulate, chunk) for chunk in chunks}
            while left:
                done, left = wait(left, return_when=FIRST_COMPLETED)
                for one in done:
                    told(one.result())
        except BaseException:
            # Else leaving the pool would wait for every run.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def story(seed: int) -> tuple[list[Moment], Failure | None, Counter[str]]:
    """One run, everything that happens in it, and how it ends."""
    run = Run(seed)
    town, moments = run.town, list[Moment]()
    begun = town.now
    town.listener = lambda now, who, what: moments.append(Moment(now - begun, who, what))
    town.mishaps.tell = lambda what: town.say("mishap", lambda: what)
    town.auditor.tell = lambda saga_id, event, saga, effects: town.say(
        f"saga {saga_id[:8]}", lambda: event_in_words(event, saga, effects)
    )
    with _quiet():
        failure = _play(run)
    return moments, failure, run.counts


def _play(run: Run) -> Failure | None:
    try:
        run.play()
    except AssertionError as error:
        number, colon, text = str(error).partition(": ")
        return Failure(run.seed, number, text) if colon else Failure(run.seed, "", str(error))
    except Exception as error:  # noqa: BLE001 - Whatever the code under test raises is what we look for.
        return Failure(run.seed, "", f"{type(error).__name__}: {error}")
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """The engine warns of much of what is done to it here."""
    log = logging.getLogger("amends")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _follow_the_parent() -> None:
    """In a child: leave interrupts to the parent, and end with it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=[multiprocessing.parent_process()], daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
