"""The pytest plugin: fixtures named `amends_*`, none of them automatic; each loads what it needs when it is asked for.

Every pytest run of an environment that holds amends loads this module, so it imports nothing but pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from amends.testing.story import Story


@pytest.fixture
def amends_saga() -> type[Story]:
    """Tell a saga's story: `amends_saga(place_order, Order(...)).given(reserve=done()).when(charge=refused())`."""
    from amends.testing.story import Story

    return Story
