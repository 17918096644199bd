"""`aput` through SQLAlchemy's other async drivers."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from amends.outbox import aput
from amends.outbox.errors import UnsupportedSession
from tests.outbox.rows import ids, message


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "sqlite+aiosqlite"])
def test_aput_works_on_other_async_drivers(
    participant_database: Engine, sqlite_database: Engine, driver: str
) -> None:
    database = participant_database if driver.startswith("postgresql") else sqlite_database

    async def shop() -> list[int]:
        engine = create_async_engine(database.url.set(drivername=driver))
        async with AsyncSession(engine) as session_, session_.begin():
            kept = [await aput(session_, message(1, key="a")), await aput(session_, message(2, delay_s=9))]
            with pytest.raises(RuntimeError, match="only this part"):
                async with session_.begin_nested():
                    await aput(session_, message(3))
                    raise RuntimeError("only this part")
        async with engine.connect() as opened:
            await aput(opened, message(4))
            await opened.rollback()
        with pytest.raises(UnsupportedSession, match="begin a transaction"):
            async with engine.connect() as opened:
                await aput(await opened.execution_options(isolation_level="AUTOCOMMIT"), message(5))
        await engine.dispose()
        return kept

    assert asyncio.run(shop()) == list(ids(database))
