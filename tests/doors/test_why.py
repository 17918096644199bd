"""`why` names each cause where it is really so: what is waited for, since when, what comes next, what can be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from amends.coordinator import Saga, chain, group, step
from amends.coordinator.engine.intake import Intake
from amends.coordinator.engine.settings import EngineSettings
from amends.coordinator.engine.ticking import Ticking
from amends.outbox import wire
from amends.outbox.broker import open_broker
from amends.outbox.drivers.memory import MemoryBroker
from amends.outbox.ports import Broker, Consumer, Topology, command_queue
from amends.outbox.removal import remove
from tests.doors.explained import HASTY, PATIENT, at, failing, silent, started, waits, why
from tests.doors.house import House, Run, problem
from tests.engine.scripted import reply
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

MakeHouse = Callable[..., House]


@pytest.fixture
def real(make_house: MakeHouse, broker: Broker, prefix: str) -> House:
    """A coordinator on RabbitMQ that knows the patient saga."""
    house = make_house(prefix=prefix, broker=broker)
    house.world.register(PATIENT)
    return house


@pytest.fixture
def idle_consumer(real: House) -> Iterator[Consumer]:
    """Consumes the queue of `charge` and takes one message at a time."""
    consumer = real.world.broker.consumer(
        [command_queue(real.world.prefix, "payments", undo=False)], prefetch=1
    )
    yield consumer
    consumer.close()


def test_a_command_that_a_worker_has_taken_waits_for_its_answer(real: House) -> None:
    real.world.participant("payments", silent)
    saga_id = started(real)
    real.world.participants["payments"].wait_for("do", "charge")

    wait = waits(real, saga_id, "answer")

    assert "the answer to charge, attempt 1, is awaited: the broker has accepted it" in wait["text"]
    assert "a worker has taken it" in wait["text"]
    assert 590 < (at(wait["next_at"]) - at(wait["since"])).total_seconds() < 610
    assert "another attempt" in wait["next"]
    assert wait["acts"] == []


def test_a_command_that_nobody_has_taken_yet_says_how_many_wait(real: House, idle_consumer: Consumer) -> None:
    taken = started(real)
    eventually(lambda: idle_consumer.receive(0.1), what="the first command to be taken")
    saga_id = started(real)

    wait = waits(real, saga_id, "queued")

    assert "in payments.do 1 message nobody has taken yet, for 1 consumer" in wait["text"]
    assert taken != saga_id


def test_a_queue_that_no_worker_consumes_names_the_command_that_starts_one(real: House) -> None:
    saga_id = started(real)

    # The broker counts a message a moment after it has confirmed it.
    told = "no worker consumes payments.do (1 message in it)"
    eventually(lambda: told in waits(real, saga_id, "no_worker")["text"], what=told)
    wait = waits(real, saga_id, "no_worker")
    assert wait["acts"] == ["amends participant MODULE:payments"]
    assert wait["next_at"] is not None


def test_the_broker_in_the_process_tells_its_workers_too(make_house: MakeHouse) -> None:
    """There the row stays until the worker is through. Guard: `in_process` in why.steps._awaiting."""
    house = make_house()
    house.world.register(PATIENT)
    queues = (command_queue(house.world.prefix, "payments", undo=undo) for undo in (False, True))
    house.world.broker.declare(Topology(queues=frozenset(queues)))
    saga_id = started(house)

    assert "no worker consumes payments.do (1 message in it)" in waits(house, saga_id, "no_worker")["text"]

    house.world.participant("payments", silent).wait_for("do", "charge")
    assert "a worker has taken it" in waits(house, saga_id, "answer")["text"]


def test_in_the_process_a_command_that_came_back_once_waits_in_its_queue_like_any_other(
    make_house: MakeHouse,
) -> None:
    """It was sent before there was a queue. Guard: `entry.leased` in why.steps._in_its_queue."""
    house = make_house()
    house.world.register(PATIENT)
    queue = command_queue(house.world.prefix, "payments", undo=False)
    broker = house.world.broker
    assert isinstance(broker, MemoryBroker)
    eventually(lambda: queue in broker.queues, what="the queue to be declared, which happens once")
    with broker.lock:
        del broker.queues[queue]
    saga_id = started(house)
    eventually(lambda: "the broker has had no queue for it" in waits(house, saga_id, "unsent")["text"])

    broker.declare(Topology(queues=frozenset({queue})))

    # What is known of the queues may be a moment old.
    told = "no worker consumes payments.do (1 message in it)"
    eventually(lambda: told in waits(house, saga_id, "no_worker")["text"], what=told)


def test_a_command_without_a_queue_is_still_in_the_outbox(real: House, rabbit: RabbitServer) -> None:
    waits(real, started(real), "no_worker")  # By now its queues are declared.
    saga_id = eventually(lambda: returned_again_and_again(real, rabbit), what="a command without a queue")

    wait = waits(real, saga_id, "unsent")
    eventually(lambda: "the broker has had no queue for it" in waits(real, saga_id, "unsent")["text"])

    assert "attempt 1, is awaited: the command is still in the outbox (row " in wait["text"]
    assert "published" in wait["next"]


def test_a_parked_outbox_row_names_the_command_that_sends_it(real: House, rabbit: RabbitServer) -> None:
    """O4: without a route for an hour it is the row's own fault."""
    waits(real, started(real), "no_worker")
    saga_id = eventually(lambda: returned_again_and_again(real, rabbit), what="a command without a queue")

    def an_hour_later() -> bool:
        with real.world.database.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE amends.outbox SET returned_since = now() - interval '61 minutes', due_at = now()"
                " WHERE correlation_id = %s AND returned_since > now() - interval '1 hour' AND parked_at IS NULL",
                (saga_id,),
            )
        return why(real, saga_id)["waits"][0]["cause"] == "parked_row"

    eventually(an_hour_later, what="the row to be parked")

    wait = waits(real, saga_id, "parked_row")
    row = real.world.value("SELECT id FROM amends.outbox WHERE parked_at IS NOT NULL")
    assert wait["acts"] == [f"amends outbox retry --id {row} --reason ..."]
    assert (wait["next"], wait["next_at"]) == (None, None)


def returned_again_and_again(house: House, rabbit: RabbitServer) -> str | None:
    """A saga whose command has no queue, seen by the sweep too; None if somebody who connected declared it again."""
    queue = command_queue(house.world.prefix, "payments", undo=False)
    remove(rabbit.url, Topology(queues=frozenset({queue})))
    saga_id = started(house)

    def row() -> str | None:
        sql = "SELECT attempts FROM amends.outbox WHERE correlation_id = %s"
        with house.world.database.connect() as connection:
            attempts = connection.exec_driver_sql(sql, (saga_id,)).scalar()
        return "gone" if attempts is None else "returned" if attempts > 1 else None

    return saga_id if eventually(row, what="the command to come back twice") == "returned" else None


def test_a_broker_that_is_away_is_told(make_house: MakeHouse) -> None:
    house = make_house(broker=open_broker("pyamqp://nobody:nothing@127.0.0.1:9//"))
    house.world.register(PATIENT)

    wait = waits(house, started(house), "broker_away")

    assert "127.0.0.1:9" in wait["text"]
    assert "attempt 1, waits in the outbox" in wait["text"]
    assert "once the broker is back" in wait["next"]


def test_a_participant_that_does_not_answer_has_an_open_breaker(make_house: MakeHouse) -> None:
    """M6: its probe is what comes next."""
    house = make_house(settings={"breaker_failures": 2, "probe_first_s": 60.0, "probe_longest_s": 60.0})
    house.world.register(HASTY)
    house.world.participant("payments", silent)
    saga_id = started(house)

    wait = waits(house, saga_id, "breaker")
    later = waits(house, started(house), "breaker")

    assert "nobody has answered on payments.do for " in wait["text"]
    assert "1 worker consumes it now" in wait["text"]
    assert wait["acts"] == []  # It runs: there is nothing to start.
    begun = house.http().get(f"/sagas/{saga_id}").json()["started_at"]
    assert at(wait["since"]) >= at(begun)
    assert at(later["since"]) > at(wait["since"])  # Its own beginning: the breaker was open before.
    assert "a probe" in wait["next"]
    assert 0 < (at(wait["next_at"]) - at(wait["since"])).total_seconds() <= 61
    assert "charge is not sent yet" in later["text"]


def test_an_open_breaker_without_workers_says_that_none_consumes(make_house: MakeHouse) -> None:
    house = make_house(settings={"breaker_failures": 2})
    house.world.register(HASTY)
    saga_id = started(house)

    eventually(lambda: "its breaker is open" in waits(house, saga_id, "no_worker")["text"], 20)

    assert "no worker consumes payments.do" in waits(house, saga_id, "no_worker")["text"]


def test_a_full_window_says_how_many_are_out(make_house: MakeHouse) -> None:
    """E4. The window counts a batch twice for a moment, so the second command may go out a little later."""
    house = make_house(settings={"window": 2})
    house.world.register(PATIENT)
    payments = house.world.participant("payments", silent)
    sagas = {started(house) for _ in range(4)}
    payments.wait_for("do", "charge", 2)
    (saga_id, _) = sorted(sagas - {command.saga for command in payments.received})

    wait = waits(house, saga_id, "window")

    full = "the window of payments.do is full: 2 commands out, 2 not sent yet"
    assert wait["text"] == f"charge is not sent yet: {full}"
    assert "answers others" in wait["next"]


def test_a_failed_attempt_says_when_the_next_one_comes(make_house: MakeHouse) -> None:
    house = make_house()
    house.world.register(PATIENT)
    house.world.participant("payments", failing("the bank is closed"))
    saga_id = started(house)

    wait = waits(house, saga_id, "backoff")

    assert "charge is tried again after attempt 1: the bank is closed" in wait["text"]
    assert wait["next"] == "attempt 2"
    assert (at(wait["next_at"]) - at(wait["since"])).total_seconds() > 500
    assert wait["acts"] == [f"amends sagas retry {saga_id} --step charge --reason ..."]


@pytest.mark.parametrize("holder", [None, "5f6d7f2e-0f4b-4f0a-9a43-6d1c3d0f7a11"])
def test_a_lock_that_somebody_else_holds_is_told_and_whose_it_is(
    make_house: MakeHouse, holder: str | None
) -> None:
    house = make_house()
    house.world.register(PATIENT)
    reason = wire.LOCK_HELD if holder is None else f"account 7 is locked by saga {holder}"
    house.world.participant("payments", failing(reason))
    saga_id = started(house)

    wait = waits(house, saga_id, "lock")

    assert reason in wait["text"]
    assert [act for act in wait["acts"] if act.startswith("amends why")] == (
        [] if holder is None else [f"amends why {holder}"]
    )


def test_a_timer_that_nobody_takes_is_overdue(make_house: MakeHouse) -> None:
    house = make_house()
    house.world.register(PATIENT)
    house.world.participant("payments", silent)
    saga_id = started(house)
    waits(house, saga_id, "answer")
    house.world.coordinator.stop()
    with house.world.database.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE amends.timer SET due_at = now() - interval '1 minute' WHERE path <> ''"
        )

    nobody = waits(house, saga_id, "overdue")
    Ticking(house.world.database, Intake(), settings=EngineSettings()).claim()
    claimed = waits(house, saga_id, "overdue")

    assert "no coordinator has taken it" in nobody["text"]
    assert nobody["acts"] == ["amends coordinator"]
    assert "the coordinator that has claimed it" in claimed["text"]
    assert claimed["next_at"] is not None


def test_a_stuck_saga_names_what_an_operator_can_do(make_house: MakeHouse) -> None:
    house = make_house()
    house.world.register(
        Saga(
            "trip",
            chain(
                group(step("flight", to="airline", undo="cancel"), step("hotel", to="hotels", undo="cancel")),
                step("charge", to="payments", undo="refund"),
            ),
            version=1,
        )
    )

    def airline(command: wire.Command) -> wire.Reply:
        return reply(
            command, "airline", "refused" if command.op == "undo" else "done", reason="flown already"
        )

    def hotels(command: wire.Command) -> wire.Reply:
        busy = command.op == "undo"
        return reply(command, "hotels", "failed" if busy else "done", reason="closed", retry_after_s=900.0)

    house.world.participant("airline", airline)
    house.world.participant("hotels", hotels)
    house.world.participant(
        "payments", lambda command: reply(command, "payments", "refused", reason="no funds")
    )
    saga_id = started(house, "trip")
    house.stuck(saga_id)

    told = why(house, saga_id)

    by_path = {one["path"]: one for one in told["waits"]}
    assert {path: one["cause"] for path, one in by_path.items()} == {"flight": "stuck", "hotel": "saga_stuck"}
    assert "flown already" in by_path["flight"]["text"]
    assert by_path["flight"]["next"] is None
    assert by_path["flight"]["acts"] == [
        f"amends sagas retry {saga_id} --step flight --reason ...",
        f"amends sagas skip {saga_id} --step flight --reason ...",
        f"amends sagas force {saga_id} --step flight --result ... --reason ...",
        f"amends sagas finish {saga_id} --reason ...",
    ]
    assert by_path["hotel"]["next"] == "then it is sent again at once"
    assert told["deadline"] is None


def test_a_saga_of_a_newer_release_needs_a_newer_coordinator(make_house: MakeHouse) -> None:
    """E3."""
    house = make_house()
    house.world.register(PATIENT)
    house.world.participant("payments", silent)
    saga_id = started(house)
    with house.world.database.begin() as connection:
        connection.exec_driver_sql("UPDATE amends.saga SET format = 999")

    assert "a newer release keeps this saga" in waits(house, saga_id, "newer")["text"]


def test_a_deadline_says_what_it_will_do(make_house: MakeHouse) -> None:
    house = make_house()
    house.world.register(PATIENT)
    house.world.participant("payments", silent)
    saga_id = started(house)

    told = why(house, saga_id)

    assert told["deadline"]["then"] == "it turns back and compensates"
    assert 86_300 < (at(told["deadline"]["at"]) - at(told["started_at"])).total_seconds() < 86_500


def test_an_ended_saga_waits_for_nothing(house: House, amends: Run) -> None:
    saga_id = house.start_saga()
    house.ended(saga_id)

    told = why(house, saga_id)
    said = amends("why", saga_id, url=house.server.url)

    assert (told["waits"], told["deadline"], told["more"]) == ([], None, 0)
    assert "it waits for nothing" in said.out


def test_an_unknown_saga_is_404(shared_house: House) -> None:
    assert problem(shared_house.http().get(f"/sagas/{uuid4()}/why")) == (404, "unknown_saga", "saga_id")


def test_the_command_tells_the_same_in_lines(make_house: MakeHouse, amends: Run) -> None:
    house = make_house()
    house.world.register(PATIENT)
    house.world.participant("payments", failing("\x1b[31mthe bank is closed"))
    saga_id = started(house)
    waits(house, saga_id, "backoff")

    said = amends("why", saga_id, url=house.server.url)
    as_json = amends("why", saga_id, "--json", url=house.server.url)

    assert (said.status, said.err) == (0, "")
    for text in (
        "pay v1",
        saga_id,
        "running",
        "charge  backoff",
        "the bank is closed",
        "(in ",
        "attempt 2",
    ):
        assert text in said.out
    assert f"amends sagas retry {saga_id} --step charge" in said.out
    assert "deadline" in said.out
    assert "\x1b" not in said.out
    assert as_json.json["waits"][0]["cause"] == "backoff"
