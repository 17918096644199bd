"""New sagas: insert first, and let the rows decide who was first (S1, S2, S3)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from amends.coordinator.engine import posting, sql
from amends.coordinator.engine.contract import StartAnswer, Verdict
from amends.coordinator.engine.intake import StartItem
from amends.coordinator.engine.kin import Kin
from amends.coordinator.engine.lives import Advancing, Live
from amends.coordinator.engine.opening import Asked
from amends.coordinator.engine.placeholders import Placeholder, Placeholders, kept_by
from amends.coordinator.engine.promised import give_keys
from amends.coordinator.engine.rows import birth_columns
from amends.coordinator.engine.signalling import Signalling
from amends.coordinator.engine.starts import Embryo, Refusal, Starts, birth_of, names_of, rejected
from amends.coordinator.rollout import ask_standings
from amends.coordinator.saga.events import Started
from amends.coordinator.saga.state import Status
from amends.db.arrays import Plain
from amends.outbox.spelling import is_participant

if TYPE_CHECKING:
    from amends.coordinator.engine.batch import Outcome


class Births:
    """The starts of one batch. `insert` all of them first, then `settle` each in its turn."""

    def __init__(
        self,
        connection: Connection,
        starts: Starts,
        advancing: Advancing,
        *,
        lives: dict[str, Live],
        placeholders: Placeholders,
        signalling: Signalling,
        kin: Kin,
        outcome: Outcome,
    ) -> None:
        self._connection = connection
        self._starts = starts
        self._advancing = advancing
        self._lives = lives
        self._placeholders = placeholders
        self._signalling = signalling
        self._kin = kin
        self._outcome = outcome
        self._refusals: dict[int, Refusal] = {}
        self._born_of: dict[str, StartItem] = {}
        self._spent: set[str] = set()
        self._vacant: set[str] = set()  # free again, since the message that was first had been refused before

    def insert(
        self, items: list[StartItem], asked: Asked | None, meanwhile: Callable[[Collection[str]], None]
    ) -> set[str]:
        """Insert what may begin. Returns the ids of the other starts: somebody has them already, or nobody may.

        `asked` is how the names stand, if that was asked already. `meanwhile` is told the ids to be inserted, and may
        ask for something that travels with them, after them.
        """
        asked = asked or ask_standings(self._connection, names_of(items))
        self._starts.look(asked.all())
        give_keys(self._connection, self._starts, self._placeholders, items)
        embryos: dict[str, Embryo] = {}
        for item in items:
            if item.saga_id in embryos:
                continue
            embryo = self._embryo(item)
            if embryo is not None:
                embryos[item.saga_id] = embryo
                self._born_of[item.saga_id] = item
        self._write(embryos, meanwhile)
        return {item.saga_id for item in items} - self._lives.keys() - self._spent

    def _embryo(self, item: StartItem) -> Embryo | None:
        examined: Embryo | Refusal = Refusal(Verdict.REJECTED, item.broken)
        if not item.broken:
            examined = self._starts.examine(self._connection, item, self._advancing.now_ms)
        if isinstance(examined, Embryo):
            return examined
        self._refusals[id(item)] = examined
        # A door and a schedule are told at once; only a message's rejection is kept for whoever asks later.
        if examined.verdict is Verdict.REJECTED and item.is_message:
            return rejected(item, examined, self._advancing.now_ms)
        return None

    def _write(
        self, embryos: dict[str, Embryo], meanwhile: Callable[[Collection[str]], None] | None = None
    ) -> None:
        fresh: dict[str, Live] = {}
        heard: dict[str, list[Callable[[], None]]] = {}
        told = self._advancing.told
        for id_ in sorted(embryos):
            before = len(told)
            fresh[id_] = self._begin(embryos[id_])
            # Of a saga that turns out to be there already nothing is told again.
            heard[id_], told[before:] = told[before:], []
        if not fresh:
            return
        columns = birth_columns((live.now, live.birth) for live in fresh.values())
        answer = self._connection.exec_driver_sql(sql.INSERT_SAGAS, columns)
        asked = {
            "ids": Plain(fresh),
            "messages": Plain([live.birth.start_message for live in fresh.values()]),
        }
        found = self._connection.exec_driver_sql(sql.GONE_IDS, asked)
        if meanwhile is not None:
            meanwhile(fresh.keys())
        inserted = {str(row[0]) for row in answer.all()}
        gone = self._gone({str(row[0]): row[1] for row in found.all() if str(row[0]) in inserted})
        for id_, live in fresh.items():
            if id_ in inserted and id_ not in gone:
                live.written = live.now
                told.extend(heard[id_])
                self._lives[id_] = live
            else:
                self._unborn(live)

    def _gone(self, reasons: dict[str, str | None]) -> set[str]:
        """Delete again what may not be: ids that were pruned, and what the messages that had them were refused for."""
        if reasons:
            self._connection.exec_driver_sql(sql.DELETE_SAGAS, {"ids": Plain(sorted(reasons))})
        for id_, reason in reasons.items():
            if reason is None:
                self._spent.add(id_)
            else:
                self._vacant.add(id_)
                self._refusals[id(self._born_of[id_])] = Refusal(Verdict.REJECTED, reason)
        return set(reasons)

    def _begin(self, embryo: Embryo) -> Live:
        live = Live(definition=embryo.definition, stored=None, now=embryo.saga, birth=embryo.birth)
        saga = embryo.saga
        if embryo.definition is not None:
            held = self._advancing.gate.held()
            self._advancing.apply(live, Started(parent=saga.parent, decision=saga.decision, held=held))
        elif saga.parent is not None:
            # A call that cannot be accepted: its saga hears of it (K4).
            self._kin.called_again(live, saga.parent.round)
        return live

    def _unborn(self, live: Live) -> None:
        for step in live.now.steps.values():
            self._advancing.gate.moved(step, None)
            self._advancing.moved = [one for one in self._advancing.moved if one[1] is not step]
        self._born_of.pop(live.now.id, None)

    def settle(self, item: StartItem) -> StartAnswer:
        """Tell a start what became of it."""
        if item.saga_id in self._placeholders.standing:
            self._grow(item)
        live = self._lives.get(item.saga_id)
        if live is None and item.saga_id in self._vacant and id(item) not in self._refusals:
            live = self._begin_late(item)
        if (
            live is not None
            and live.now.status is Status.REJECTED
            and self._born_of.get(item.saga_id) is not item
        ):
            live = self._replace(item, live)
        answer = self._answer(item, live)
        if item.promised and not answer.verdict.waits:
            early = self._placeholders.point(item.promised, item.saga_id)
            self._signalling.pass_on(item.saga_id, early)
        if item.start.parent is not None and live is not None and self._born_of.get(item.saga_id) is not item:
            self._kin.called_again(live, item.start.parent.round)
        self._count(item, answer)
        if item.answer is not None:
            self._outcome.answers.append(_resolve(item, answer))
        if item.receipt is not None and not answer.verdict.waits:
            self._outcome.receipts.append(
                posting.receipt(item.receipt, item.message_id, answer.verdict.value)
            )
        elif item.receipt is None and item.is_message and answer.verdict.waits:
            again = posting.start_again(self._advancing.prefix, item, self._starts.again_s)
            self._outcome.again.append(again)
        return answer

    def _begin_late(self, item: StartItem) -> Live | None:
        """The id is free after all; a message of the same batch that had it first was refused before (S2)."""
        embryo = self._embryo(item)
        if embryo is not None:
            self._born_of[item.saga_id] = item
            self._write({item.saga_id: embryo})
        return self._lives.get(item.saga_id)

    def _refused_before(self, item: StartItem) -> str | None:
        seen = {"id": item.saga_id, "message_id": item.message_id}
        reason: str | None = self._connection.exec_driver_sql(sql.REFUSED_BEFORE, seen).scalar()
        return reason

    def _grow(self, item: StartItem) -> None:
        """Turn a placeholder into its saga, which then hears what came for it (S1)."""
        other = self._placeholders.standing[item.saga_id].stands_for
        if other:
            # It began under that id, when its definition made a key (S3).
            self._refusals[id(item)] = Refusal(Verdict.DUPLICATE, f"saga {other} was started by it")
            return
        reason = self._refused_before(item)
        if reason is not None:
            self._refusals[id(item)] = Refusal(Verdict.REJECTED, reason)
            return
        embryo = self._embryo(item)
        if embryo is None:
            return  # It cannot start yet, or not so: what came early is kept.
        early = self._placeholders.standing[item.saga_id]
        live = self._begin(decided(embryo, early))
        self._placeholders.turn(live)
        live.written = live.now
        self._lives[item.saga_id] = live
        self._born_of[item.saga_id] = item
        self._signalling.grown(live, early.signals)

    def _replace(self, item: StartItem, standing: Live) -> Live | None:
        """A rejected start owns no key: another message may take its place (S2). None: that one is not to begin."""
        if standing.birth.start_message == item.message_id or self._refused_before(item) is not None:
            return standing
        embryo = self._embryo(item)
        if embryo is None:
            return None
        early = kept_by(standing.now)
        self._connection.exec_driver_sql(sql.DELETE_SAGAS, {"ids": [item.saga_id]})
        del self._lives[item.saga_id]
        self._born_of[item.saga_id] = item
        self._write({item.saga_id: decided(embryo, early)})
        live = self._lives[item.saga_id]
        self._signalling.grown(live, early.signals)
        return live

    def _answer(self, item: StartItem, live: Live | None) -> StartAnswer:
        refusal = self._refusals.get(id(item))
        if item.saga_id in self._spent:
            reason = "this id belonged to a saga that has ended and was pruned"
            return StartAnswer(item.saga_id, Verdict.SPENT, reason, key=item.start.key)
        if live is None:
            if refusal is None:
                raise AssertionError(f"start {item.saga_id} was neither inserted, found nor refused")
            return StartAnswer(item.saga_id, refusal.verdict, refusal.reason, field=refusal.field)
        status = live.now.status.value
        if live.now.status is Status.REJECTED:
            return StartAnswer(item.saga_id, Verdict.REJECTED, live.now.cause, status)
        if self._born_of.get(item.saga_id) is item:
            return StartAnswer(item.saga_id, Verdict.ACCEPTED, "", status)
        if live.birth.input_hash == birth_of(item).input_hash and live.now.name == item.start.name:
            return StartAnswer(item.saga_id, Verdict.DUPLICATE, "", status, key=item.start.key)
        key = f"key {item.start.key!r}" if item.start.key is not None else f"id {item.saga_id}"
        reason = (
            f"{key} started a saga with other input, which is as it was; use another key for another saga"
        )
        return StartAnswer(item.saga_id, Verdict.CONFLICT, reason, status, key=item.start.key)

    def _count(self, item: StartItem, answer: StartAnswer) -> None:
        observer, name = self._advancing.observer, item.start.name
        if answer.verdict is Verdict.ACCEPTED:
            self._advancing.told.append(lambda: observer.saga_started(name))
        elif answer.verdict is Verdict.REJECTED:
            if self._born_of.get(item.saga_id) is item:
                remember = {"id": item.saga_id, "message_id": item.message_id, "reason": answer.reason}
                self._connection.exec_driver_sql(sql.REMEMBER_REFUSED, remember)
                told = item.start.finished
                if told is not None and is_participant(told):
                    self._advancing.tell_rejected(self._lives[item.saga_id], told, item.message_id)
                self._advancing.told.append(lambda: observer.saga_rejected(name))
            elif item.answer is not None:
                self._advancing.told.append(lambda: observer.saga_rejected(name))
        elif answer.verdict is Verdict.SUSPENDED:
            held = self._starts.held
            self._advancing.told.append(
                lambda: observer.start_held(name) if held.is_new(item.saga_id) else None
            )


def decided(embryo: Embryo, early: Placeholder) -> Embryo:
    """The embryo of a child whose parent has spoken already (K3)."""
    saga = embryo.saga
    if saga.parent is None:
        return embryo
    parent = replace(saga.parent, round=max(saga.parent.round, early.round))
    return replace(embryo, saga=replace(saga, parent=parent, decision=early.decision))


def _resolve(item: StartItem, answer: StartAnswer) -> Callable[[], None]:
    def resolve() -> None:
        if item.answer is not None:
            item.answer.set_result(answer)

    return resolve
