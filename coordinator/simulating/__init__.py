"""The simulator: whole towns of coordinators, participants and clients, in which everything goes wrong, then nothing.

Deterministic: all chance is one `random.Random(seed)`, all time one number. The machine, and the batches of the engine
around it, are the real ones; what they stand on is modelled. Where to read on:

    running.py       one run: a bad time, then a calm one in which everything must end
    town.py          who takes part                   troubles.py      what happens to them from outside
    processes.py     what lives, freezes, dies        mishaps.py       chance, crash points, fates of a COMMIT
    coordinators.py  the engine's threads as moves    participants.py  workers, barrier rows, external calls
    services.py      clients and their outbox         broker.py        queues, deliveries, connections
    tables.py        the coordinators' database       statements.py    what the engine's SQL does to it
    outboxes.py      an outbox table                  sender.py, relays.py, publishing.py: who publishes from it
    auditing.py      replays every log as it grows    promises.py, promises_kept.py, endings.py: the invariants
    authoring.py     random definitions               expecting.py     what they ask for, made out without the machine
"""
