"""A shop on FastAPI and SQLAlchemy's asyncio, whose saga's steps run beside it in its own process."""
