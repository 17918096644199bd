"""Waking a thread that waits for a socket."""

from __future__ import annotations

import select

from amends.outbox.drivers.wakeup import Wakeup


def _readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_it_is_readable_from_set_to_clear_however_often_it_is_set() -> None:
    wakeup = Wakeup()
    fd = wakeup.open()
    assert not _readable(fd)

    for _ in range(100_000):
        wakeup.set()
    assert _readable(fd)
    wakeup.clear()

    assert not _readable(fd)
    wakeup.clear()
    wakeup.close()


def test_a_wake_while_it_is_closed_is_kept() -> None:
    wakeup = Wakeup()
    wakeup.set()
    assert _readable(wakeup.open())

    wakeup.clear()
    wakeup.close()
    wakeup.set()

    assert _readable(wakeup.open())
    wakeup.close()


def test_opening_twice_is_opening_once_and_so_is_closing() -> None:
    wakeup = Wakeup()
    assert wakeup.open() == wakeup.open()
    wakeup.close()
    wakeup.close()
    wakeup.set()
    wakeup.clear()
