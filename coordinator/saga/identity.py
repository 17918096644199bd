"""Who is who among parent and child (K1)."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.state import Parent
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.saga.walk import Zone

# The namespace of children's ids. Never to change: a call that is repeated would start another child.
CHILD_IDS: Final = UUID("0f6d1d0a-5a0c-5c55-9b39-6d0b8c6f3f55")


def child_of(draft: Draft, step: StepDraft) -> str:
    """The id of a call's child: UUIDv5 of parent, path and number, a line feed between them."""
    return child_id(draft.id, step.path, step.child)


def child_id(parent: str, path: str, number: int) -> str:
    """The same, of what is stored."""
    return str(uuid5(CHILD_IDS, f"{parent}\n{path}\n{number}"))


def parent_of(draft: Draft, step: StepDraft) -> Parent:
    """How a child is told who calls it."""
    return Parent(saga=draft.id, path=step.path, round=step.round, holds=step.place.zone is Zone.BEFORE)
