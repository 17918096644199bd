"""Sagas that need an operator, as the tests of acts begin with them."""

from __future__ import annotations

import pytest

from amends.coordinator import pivot, step
from amends.coordinator.saga.errors import ActRefused
from tests.saga.story import Happening, Story, done, expired, refused, tell


def running() -> Story:
    return tell(step("a", to="x", undo="u"), step("b", to="y", undo="u")).given(a=done())


def stuck_undo() -> Story:
    """`b` was refused, and the undo of `a` as well."""
    return running().given(b=refused()).given(a=refused("account closed"))


def stuck_forward() -> Story:
    """A step after the pivot was refused."""
    story = tell(pivot(step("p", to="x")), step("mail", to="mail"), step("tell", to="crm")).given(p=done())
    return story.given(mail=refused("no mailbox"))


def stuck_before() -> Story:
    """A step before the pivot was asked too late for its participant to know."""
    return running().given(b=expired())


def refusal(story: Story, act: Happening) -> str:
    """Why an act is refused; it changes nothing."""
    before = story.saga
    with pytest.raises(ActRefused) as caught:
        story.when(act)
    assert story.saga is before
    return str(caught.value)
