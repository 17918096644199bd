"""Engines, outboxes and participants with a guard less, to see that the simulator notices.

Of the machine itself `tests.saga.mutants` takes the guards out.
"""

from __future__ import annotations

from tests.checking.mutating import Mutant

MUTANTS = (
    # The barrier
    Mutant(
        "B1: done is told again, not done again",
        "checking.barrier",
        "return row, answer(send, Outcome.DONE, result=row.result, ran_in_round=row.round)",
        "return None",
    ),
    Mutant(
        "B2: an undo that comes first leaves a tombstone",
        "checking.barrier",
        'row._replace(undo="nothing", do=row.do or "never"), answer',
        'row._replace(undo="nothing"), answer',
    ),
    Mutant(
        "B2: an undo that ran leaves its row",
        "checking.barrier",
        'row._replace(undo="done", undone=row.undone + 1)',
        "row._replace(undone=row.undone + 1)",
    ),
    Mutant(
        "B2: an undo waits for the call under way",
        "checking.barrier",
        """        return row, _under_way(send)
    if row.do == "done" or row.in_doubt(now):""",
        """        pass
    if row.do == "done" or row.in_doubt(now):""",
    ),
    Mutant(
        "B3: a fence takes the do's place",
        "checking.barrier",
        'row = row._replace(do=row.do or "never", final=True)\n    return',
        'return row, answer(send, Outcome(row.do or "never"))\n    return',
    ),
    Mutant(
        "B5: an outcome is stored over one's own announcement only",
        "checking.barrier",
        '    if row.do != "calling" or row.call != call:\n        return None\n    return _settled',
        "    return _settled",
    ),
    Mutant(
        "B5: from the second call on a refusal is in doubt",
        "simulating.participants",
        "certain = barrier.is_first(row)",
        "certain = True",
    ),
    Mutant(
        "B6: what is forgotten is expired, not run again",
        "simulating.participants",
        "if key not in participant.rows and started",
        "if False and started",
    ),
    # The outbox
    Mutant(
        "O1: an outbox row is written with its transaction",
        "simulating.outboxes",
        "        self._journal.put(self.rows, row.id, row)",
        "        self.rows[row.id] = row",
    ),
    Mutant(
        "O1: a row goes at the confirm, not at the publish",
        "simulating.sender",
        "            self._flight.launch(cargos)",
        "            self._confirmed += [cargo.row.id for cargo in cargos if cargo.row]\n"
        "            self._flight.launch(cargos)",
    ),
    Mutant(
        "O1: what is returned is not confirmed (sender)",
        "simulating.sender",
        "if fate is not Fate.CONFIRMED:",
        "if fate is Fate.NACKED:",
    ),
    Mutant(
        "O1: what is returned is not confirmed (sweep)",
        "simulating.relays",
        "if fate is not Fate.CONFIRMED:",
        "if fate is Fate.NACKED:",
    ),
    Mutant(
        "O1: a start stays until its receipt",
        "simulating.outboxes",
        "            if row.message.needs_receipt and not row.parked:\n",
        "            if self._journal.drop(self.rows, row.id) and False:\n",
    ),
    Mutant(
        "O1: a receipt comes after the commit",
        "simulating.coordinators",
        "                outcome = self._batch(advancing).decide(list(items))",
        "                outcome = self._batch(advancing).decide(list(items))\n"
        "                self.sender.send(outcome.receipts)",
    ),
    Mutant(
        "O1: every such message is receipted",
        "engine.kin",
        "        if item.receipt is not None:\n            self._outcome.receipts",
        "        if False:\n            self._outcome.receipts",
    ),
    Mutant(
        "O1: parents and children wait for receipts",
        "engine.kin",
        "needs_receipt=True",
        "needs_receipt=False",
    ),
    Mutant(
        "O1: a receipt is for the row of its message",
        "simulating.outboxes",
        "if row is not None and row.message.message_id == receipt.message_id and row.message.needs_receipt:",
        "if row is None:",
    ),
    Mutant(
        "O2: a coordinator takes a fresh owner after an unknown COMMIT",
        "simulating.coordinators",
        "            self.sender.renew_owner()\n",
        "            pass\n",
    ),
    Mutant(
        "O2: a participant takes a fresh owner after an unknown COMMIT",
        "simulating.participants",
        "            self.sender.renew_owner()\n",
        "            pass\n",
    ),
    Mutant(
        "O2: an owner is fresh after a restart",
        "simulating.sender",
        "        self._id = names()\n        self._registered = False\n        self._retired: list",
        "        self._id = 1\n        self._registered = False\n        self._retired: list",
    ),
    Mutant(
        "O2: a dead owner's rows are swept",
        "simulating.outboxes",
        "if beat is not None and beat > now - _RULES.dead_s * 1000:",
        "if True:",
    ),
    Mutant(
        "O2: confirmed rows are forgotten once their delete is known",
        "simulating.sender",
        "        self._confirmed = [*ids, *self._confirmed]",
        "        pass",
    ),
    Mutant(
        "O2: a claim's lease ends",
        "simulating.outboxes",
        "self._put(row._replace(due=now + lease_ms, leased=now + lease_ms))",
        "self._put(row._replace(due=now + 10**12, leased=now + lease_ms))",
    ),
    Mutant(
        "O3: nothing leaves after a COMMIT of unknown outcome",
        "simulating.coordinators",
        "            self._taken_back(items, confirmed, advancing, error)\n            return\n",
        "            if not isinstance(error, CommitUnknown):\n"
        "                self._taken_back(items, confirmed, advancing, error)\n"
        "                return\n",
    ),
    Mutant(
        "O3: a coordinator acknowledges after its commit",
        "simulating.coordinators",
        "        self._intake += [read(one, body_bytes_max=BODY_BYTES_MAX) for one in deliveries]",
        "        self._intake += [read(one, body_bytes_max=BODY_BYTES_MAX) for one in deliveries]\n"
        "        self._consumer.ack([one.tag for one in deliveries])",
    ),
    # The engine
    Mutant(
        "E3: a timer has its say under its claim alone",
        "simulating.statements_timers",
        "if row is None or row.token != token:",
        "if row is None:",
    ),
    Mutant(
        "E3: a timer's lease ends",
        "simulating.statements_timers",
        "(timer.leased_until is None or timer.leased_until < now)",
        "timer.leased_until is None",
    ),
    Mutant(
        "E3: what is at hand is what the row says",
        "engine.shelf",
        "(seq, clock, status, deadline, started)\n            ==",
        "(saga.seq, saga.clock, saga.status.value, saga.deadline, saga.started)\n            ==",
    ),
    Mutant(
        "S1: a start finds what came before it",
        "engine.births",
        "        self._born_of[item.saga_id] = item\n        self._signalling.grown(live, early.signals)",
        "        self._born_of[item.saga_id] = item",
    ),
    Mutant(
        "S1: early signals are kept",
        "engine.signalling",
        "self._placeholders.keep(item.saga_id, item.event)",
        "pass",
    ),
    Mutant(
        "S2: a key is one saga's",
        "simulating.statements",
        "        if id_ not in tables.sagas:\n            tables.journal.put(tables.sagas, id_, _born",
        "        if True:\n            tables.journal.put(tables.sagas, id_, _born",
    ),
    Mutant(
        "S2: other input is told",
        "engine.births",
        "if live.birth.input_hash == birth_of(item).input_hash and",
        "if",
    ),
    Mutant(
        "S2: an unknown version waits for its hour",
        "engine.starts",
        "late = waited_ms > self._unknown_version_ms",
        "late = True",
    ),
    Mutant(
        "S3: a pruned saga leaves its id",
        "simulating.statements",
        "            tables.journal.put(tables.spent, row.id, row.input_hash)",
        "            pass",
    ),
    Mutant(
        "S3: a spent id begins nothing",
        "engine.births",
        "        return set(reasons)",
        "        return set()",
    ),
    Mutant(
        "S4: a schedule fires an instant once",
        "simulating.statements_timers",
        "if row is not None and row.next_ms == due and not row.paused:",
        "if row is not None and not row.paused:",
    ),
    Mutant(
        "K3: a decision before the start is kept",
        "engine.births",
        "live = self._begin(decided(embryo, early))",
        "live = self._begin(embryo)",
    ),
    Mutant(
        "K4: a rejected call is told",
        "engine.births",
        "            self._kin.called_again(live, saga.parent.round)",
        "            pass",
    ),
    Mutant(
        "M4: a timeout waits for a command that is still in the outbox",
        "engine.timing",
        "(step.phase is Phase.AWAITING and timer.unsent)",
        "False",
    ),
    Mutant(
        "E4: what is parked is let in",
        "engine.batch",
        "if item.probe or self._gate.room(queue) > 0:",
        "if item.probe:",
    ),
    # Locks
    Mutant(
        "L1: an undo tells of the locks that its do took",
        "simulating.participants",
        "reply = replace(reply, holds=True) if locks else self._holding(reply, key)",
        "reply = replace(reply, holds=True) if locks else reply",
    ),
    Mutant(
        "L1: whoever ran tells of locks",
        "simulating.participants",
        "reply = replace(reply, holds=True) if locks else self._holding(reply, key)",
        "pass",
    ),
    Mutant(
        "L4: who holds locks hears of the end",
        "engine.lives",
        "live.events.append(posting.end(self.prefix, after, effect.participant))",
        "pass",
    ),
    Mutant(
        "L4: an end stays until its receipt",
        "engine.posting",
        """if isinstance(saga, Saga) else ""),
        needs_receipt=True,""",
        """if isinstance(saga, Saga) else ""),
        needs_receipt=False,""",
    ),
)
