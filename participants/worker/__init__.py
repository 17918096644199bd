"""The worker: takes commands from a participant's queues, runs its handlers behind the barrier, and answers."""
