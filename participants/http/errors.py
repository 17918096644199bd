"""What can go wrong in the HTTP adapter.

ParticipantError
+-- InvalidDeclaration   a declaration that cannot be served; says where and the mend
+-- Failed
    +-- ServiceAway      no answer, or one that says that the service is in trouble; breakers count it
    +-- NotSetUp         the adapter or the service is set up wrongly; unspent, since no saga is at fault
"""

from __future__ import annotations

from typing import Final

from amends.participants.errors import Failed, ParticipantError

SET_UP_RETRY_S: Final = 30.0


class InvalidDeclaration(ParticipantError):
    """A declaration that cannot be served."""


class ServiceAway(Failed):
    """The service did not answer, or said that it is in trouble. A call that was sent is in doubt."""


class NotSetUp(Failed):
    """Somebody has to mend a setting first: a host that is not allowed, a key file that is missing, a 401 or a 404."""

    def __init__(self, error: str) -> None:
        super().__init__(error, retry_after_s=SET_UP_RETRY_S, spent=False)
