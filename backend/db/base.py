# ruff: noqa: ARG002 - SQLAlchemy hands every column type the dialect, wanted or not.
"""The declarative base and the column types that mean the same on SQLite and PostgreSQL.

Rows compare, sort and page alike on both engines: ids by their bytes, keys by code point, instants by time.
"""

import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

import rfc8785
from sqlalchemy import BigInteger, CheckConstraint, DateTime, Dialect, LargeBinary, MetaData, String, Text, Uuid
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = ["Base", "CanonicalJson", "Choice", "Instant", "Key", "Money", "SealedBytes", "SealedValue", "Uuid", "enum_check"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",  # A CHECK without a name is an error.
}

Money = BigInteger
"""Whole fen; no column for money is of any other type."""

Choices = TypeVar("Choices", bound=StrEnum)


class Base(DeclarativeBase):
    """The base of every table of every slice."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class SealedValue(bytes):
    """Ciphertext made by the key slice; the only thing that a `SealedBytes` column accepts."""

    __slots__ = ()


class Instant(TypeDecorator[datetime]):
    """An aware instant in UTC: timestamptz on PostgreSQL, whole microseconds since 1970 on SQLite. Refuses naive times."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError("an instant needs a time zone, got a naive datetime")
        return (value - _EPOCH) // _MICROSECOND if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        instant: datetime = _EPOCH + value * _MICROSECOND if dialect.name == "sqlite" else value.astimezone(UTC)
        return instant


class Key(TypeDecorator[str]):
    """Text that is searched, sorted or paged, in code-point order on both engines. `length` counts characters."""

    impl = String
    cache_ok = True

    def __init__(self, length: int = 64) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String(self.length, collation="C" if dialect.name == "postgresql" else None))


class Choice(TypeDecorator[Choices], Generic[Choices]):
    """A `StrEnum` stored as its text; pair it with `enum_check`. Refuses a value of another enum."""

    impl = String(32)
    cache_ok = True

    def __init__(self, choices: type[Choices]) -> None:
        super().__init__(32)
        self.choices = choices

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String(32, collation="C" if dialect.name == "postgresql" else None))

    def process_bind_param(self, value: Choices | None, dialect: Dialect) -> str | None:
        return None if value is None else self.choices(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> Choices | None:
        return None if value is None else self.choices(value)


class CanonicalJson(TypeDecorator[Any]):
    """A JSON value kept as its RFC 8785 text, so that equal values are equal bytes on both engines. `None` is NULL.

    Raises at flush:
        ValueError: The value has no canonical form: a number that is not finite, an integer beyond ±(2⁵³ - 1), another type.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else rfc8785.dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class SealedBytes(TypeDecorator[SealedValue]):
    """Ciphertext. Binding anything but a `SealedValue` raises `TypeError`, so plain text cannot be stored by mistake."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: SealedValue | None, dialect: Dialect) -> bytes | None:
        if value is None:
            return None
        if not isinstance(value, SealedValue):
            raise TypeError(f"a sealed column takes a SealedValue, got {type(value).__name__}")
        return bytes(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> SealedValue | None:
        return None if value is None else SealedValue(value)


def enum_check(column: str, choices: type[StrEnum]) -> CheckConstraint:
    """Make the CHECK `<column>_known` that admits exactly the values of an enum, written as `ddl.known` writes it."""
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in sorted(choice.value for choice in choices))
    return CheckConstraint(f"{column} IN ({quoted})", name=f"{column}_known")
