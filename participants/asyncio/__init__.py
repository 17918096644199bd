"""amends in an asyncio service: FastAPI, Starlette, Litestar, any ASGI application.

running = amends_lifespan(payments)           # a worker and a relay beside the application
app = FastAPI(lifespan=running)

async with AsyncSession(engine) as session, session.begin():
    saga = await client.astart(session, "place-order", {...}, key=order.number)
"""

from __future__ import annotations

from amends.participants.asyncio.lifespan import Lifespan, Readiness, amends_lifespan

__all__ = ["Lifespan", "Readiness", "amends_lifespan"]
