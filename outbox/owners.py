"""Who publishes from memory, and the heartbeat that keeps its rows from being swept (O2)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.db.errors import StoreUnavailable
from amends.outbox.faults import DATABASE_FAULTS, told
from amends.outbox.store import OutboxStore

log = logging.getLogger(__name__)

BEAT_S: Final = 5.0
_RETRY_S: Final = 0.5


class Owner:
    """One process's name in the outbox, beating every `beat_s` in a thread of its own.

    The name is used only once its heartbeat row is committed: rows of an owner without one would be swept, and so
    published twice. A fresh name takes over the rows that `held` tells, those known to be committed.
    """

    def __init__(
        self,
        database: Engine,
        store: OutboxStore,
        label: str,
        *,
        held: Callable[[], Sequence[int]],
        beat_s: float = BEAT_S,
    ) -> None:
        self._database = database
        self._store = store
        self._label = label
        self._held = held
        self._beat_s = beat_s
        self._id = uuid4()
        self._registered = False
        self._faltering = False
        self._retired: list[UUID] = []
        # Held during the database's answer: a name is not renewed while it is being registered.
        self._turn = threading.Lock()
        self._hurry = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def id(self) -> UUID:
        """The name to insert rows under. Raises: StoreUnavailable while it could not be registered."""
        if not self._registered:
            self._hurry.set()
            raise StoreUnavailable("the outbox's owner id is not registered yet; the database was away")
        return self._id

    def start(self) -> None:
        """Register, if the database answers, and go on beating; else keep trying."""
        self._try()
        self._thread = threading.Thread(target=self._run, name="amends-owner", daemon=True)
        self._thread.start()

    def renew(self) -> None:
        """Take a fresh name; the old one's heartbeat goes, and with it every row of an unknown COMMIT is swept."""
        with self._turn:
            self._retired.append(self._id)
            self._id = uuid4()
            self._registered = False
        if not self._try():
            self._hurry.set()

    def stop(self) -> None:
        """Stop beating, and leave what rows are left to the sweep at once if the database answers."""
        self._stopping.set()
        self._hurry.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        try:
            with transaction(self._database) as connection:
                for owner in (self._id, *self._retired):
                    self._store.forget_owner(connection, owner)
        except DATABASE_FAULTS as error:
            # Nobody beats for it any more, so it will be found dead all the same.
            log.warning("owner_not_forgotten", extra={"owner": str(self._id), "error": told(error)})
        self._registered = False

    def _run(self) -> None:
        wait_s = self._beat_s if self._registered else _RETRY_S
        while True:
            self._hurry.wait(wait_s)
            if self._stopping.is_set():
                return
            wait_s = self._beat_s if self._try() else _RETRY_S
            self._hurry.clear()

    def _try(self) -> bool:
        try:
            with self._turn:
                self._beat()
        except DATABASE_FAULTS as error:
            if not self._faltering:  # Once per outage, not at every try.
                log.warning("owner_beat_failed", extra={"owner": str(self._id), "error": told(error)})
            self._faltering = True
            return False
        if self._faltering:
            log.info("owner_beats_again", extra={"owner": str(self._id)})
        self._faltering = False
        return True

    def _beat(self) -> None:
        # One transaction: the fresh name is there before the old one's rows are its own, and before the old one goes.
        with transaction(self._database) as connection:
            self._store.beat(connection, self._id, self._label)
            if self._retired:
                self._store.adopt(connection, sorted(self._held()), self._id)
            for owner in self._retired:
                self._store.forget_owner(connection, owner)
        self._retired.clear()
        self._registered = True
