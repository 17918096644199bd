"""Column types that mean the same on every database a service may have.

On MySQL and MariaDB: texts compare byte by byte (by default `Charge` equals `charge` there), bytes may be long, ids are
32 hexadecimal digits, times are UTC to the microsecond.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, DateTime, Integer, LargeBinary, Uuid, func
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from amends.db.mysql import NAMES

# SQLite counts row ids itself, and only for a column of exactly this type.
ROW_ID: Final = BigInteger().with_variant(Integer(), "sqlite")
MOMENT: Final = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), *NAMES)
BYTES: Final = LargeBinary().with_variant(mysql.LONGBLOB(), *NAMES)
UUID: Final = Uuid().with_variant(Uuid(native_uuid=False), *NAMES)

# What a table is created with there. SQLAlchemy reads what begins with the dialect's name.
TABLE_OPTIONS: Final[Mapping[str, Any]] = {
    f"{name}_{option}": value
    for name in NAMES
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


class present(FunctionElement[Any]):  # noqa: N801 - Named as the functions of SQL are.
    """The present as a column's default: `now()`, which on MySQL and MariaDB would be some local time."""

    inherit_cache = True
    name = "present"


@compiles(present)
def _now(_element: present, compiler: Any, **options: Any) -> str:
    return str(compiler.process(func.now(), **options))


@compiles(present, "mysql")
@compiles(present, "mariadb")
def _utc(_element: present, _compiler: Any, **_options: Any) -> str:
    return "(utc_timestamp(6))"
