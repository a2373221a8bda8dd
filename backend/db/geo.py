# ruff: noqa: ARG002 - SQLAlchemy hands every column type the dialect, wanted or not.
"""Places and areas in the database: PostGIS geography on PostgreSQL, WKB with shapely and pyproj on SQLite.

Distances are metres on the WGS-84 ellipsoid. An area's edges are straight in longitude and latitude on both engines (the
way maps draw them), so a position near a long edge gets the same answer from both; its boundary belongs to the area.
"""

import sqlite3
from functools import lru_cache
from typing import Any

import shapely
from geoalchemy2 import Geography
from pyproj import Geod
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Boolean, Dialect, Double, LargeBinary, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from backend.core.geo import LonLat, MultiPolygon

SRID = 4326
_ELLIPSOID = Geod(ellps="WGS84")


class Point(TypeDecorator[LonLat]):
    """A WGS-84 position. Index it with `Index(..., postgresql_using="gist")` for `within_m`."""

    impl = LargeBinary
    cache_ok = True
    # GeoAlchemy2's table events read these two from every column that compiles to one of its types.
    spatial_index = False
    use_N_D_index = False  # noqa: N815

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return _dialect_type(dialect, "POINT")

    def process_bind_param(self, value: LonLat | None, dialect: Dialect) -> bytes | str | None:
        return None if value is None else _bound(shapely.Point(value.lon, value.lat), dialect)

    def process_result_value(self, value: Any, dialect: Dialect) -> LonLat | None:
        if value is None:
            return None
        point = _loaded(value)
        return LonLat(point.x, point.y)


class Area(TypeDecorator[MultiPolygon]):
    """A territory: one or more WGS-84 polygons. Raises `ValueError` at flush for a shape that crosses itself."""

    impl = LargeBinary
    cache_ok = True
    spatial_index = False
    use_N_D_index = False  # noqa: N815

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return _dialect_type(dialect, "MULTIPOLYGON")

    def process_bind_param(self, value: MultiPolygon | None, dialect: Dialect) -> bytes | str | None:
        if value is None:
            return None
        shape = _shape(value)
        if not shape.is_valid:
            raise ValueError(f"an area must not cross itself: {shapely.is_valid_reason(shape)}")
        return _bound(shape, dialect)

    def process_result_value(self, value: Any, dialect: Dialect) -> MultiPolygon | None:
        if value is None:
            return None
        return MultiPolygon(
            tuple(
                tuple(tuple(LonLat(lon, lat) for lon, lat in ring.coords) for ring in (polygon.exterior, *polygon.interiors))
                for polygon in _loaded(value).geoms
            )
        )


class distance_m(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it is.
    """The distance in metres between two positions, each a column or a `LonLat`; NULL when one is unknown."""

    inherit_cache = True
    type = Double()
    name = "distance_m"

    def __init__(self, a: ColumnElement[LonLat] | Any, b: ColumnElement[LonLat] | Any) -> None:
        super().__init__(_operand(a, Point()), _operand(b, Point()))


class within_m(FunctionElement[bool]):  # noqa: N801
    """Whether two positions are at most `limit_m` metres apart; uses a GiST index on PostgreSQL."""

    inherit_cache = True
    type = Boolean()
    name = "within_m"

    def __init__(self, a: ColumnElement[LonLat] | Any, b: ColumnElement[LonLat] | Any, limit_m: float) -> None:
        super().__init__(_operand(a, Point()), _operand(b, Point()), bindparam(None, float(limit_m), type_=Double()))


class covers(FunctionElement[bool]):  # noqa: N801
    """Whether an area, its boundary included, holds a position; each a column, a `MultiPolygon` or a `LonLat`."""

    inherit_cache = True
    type = Boolean()
    name = "covers"

    def __init__(self, area: ColumnElement[MultiPolygon] | Any, point: ColumnElement[LonLat] | Any) -> None:
        super().__init__(_operand(area, Area()), _operand(point, Point()))


def register_sqlite_functions(connection: sqlite3.Connection) -> None:
    """Give a SQLite connection the functions that `distance_m`, `within_m` and `covers` compile to."""
    connection.create_function("fieldvisit_distance_m", 2, _sqlite_distance_m, deterministic=True)
    connection.create_function("fieldvisit_covers", 2, _sqlite_covers, deterministic=True)


@compiles(distance_m, "postgresql")
def _distance_on_postgresql(element: distance_m, compiler: SQLCompiler, **kw: Any) -> str:
    return f"ST_Distance({compiler.process(element.clauses, **kw)})"


@compiles(distance_m, "sqlite")
def _distance_on_sqlite(element: distance_m, compiler: SQLCompiler, **kw: Any) -> str:
    return f"fieldvisit_distance_m({compiler.process(element.clauses, **kw)})"


@compiles(within_m, "postgresql")
def _within_on_postgresql(element: within_m, compiler: SQLCompiler, **kw: Any) -> str:
    return f"ST_DWithin({compiler.process(element.clauses, **kw)})"


@compiles(within_m, "sqlite")
def _within_on_sqlite(element: within_m, compiler: SQLCompiler, **kw: Any) -> str:
    a, b, limit_m = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"(fieldvisit_distance_m({a}, {b}) <= {limit_m})"


@compiles(covers, "postgresql")
def _covers_on_postgresql(element: covers, compiler: SQLCompiler, **kw: Any) -> str:
    # As geometry: geography would bend the edges along great circles, metres away from where SQLite and the maps draw them.
    area, point = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"ST_Covers(CAST({area} AS geometry), CAST({point} AS geometry))"


@compiles(covers, "sqlite")
def _covers_on_sqlite(element: covers, compiler: SQLCompiler, **kw: Any) -> str:
    return f"fieldvisit_covers({compiler.process(element.clauses, **kw)})"


def _operand(value: Any, type_: TypeEngine[Any]) -> Any:
    return bindparam(None, value, type_=type_) if isinstance(value, LonLat | MultiPolygon) else value


def _dialect_type(dialect: Dialect, geometry_type: str) -> TypeEngine[Any]:
    if dialect.name == "postgresql":
        return dialect.type_descriptor(Geography(geometry_type, srid=SRID, spatial_index=False))
    return dialect.type_descriptor(LargeBinary())


def _bound(shape: BaseGeometry, dialect: Dialect) -> bytes | str:
    if dialect.name == "postgresql":
        return f"SRID={SRID};{shapely.to_wkt(shape, rounding_precision=-1)}"
    return bytes(shapely.to_wkb(shape, byte_order=1, output_dimension=2))


def _loaded(value: Any) -> Any:
    return shapely.from_wkb(bytes(getattr(value, "data", value)))


def _shape(area: MultiPolygon) -> BaseGeometry:
    outlines = [[[(place.lon, place.lat) for place in ring] for ring in polygon] for polygon in area.polygons]
    return shapely.MultiPolygon([shapely.Polygon(rings[0], rings[1:]) for rings in outlines])


@lru_cache(maxsize=64)
def _prepared_area(wkb: bytes) -> BaseGeometry:
    area = shapely.from_wkb(wkb)
    shapely.prepare(area)
    return area


def _sqlite_distance_m(a: bytes | None, b: bytes | None) -> float | None:
    if a is None or b is None:
        return None
    start, end = shapely.from_wkb(a), shapely.from_wkb(b)
    return float(_ELLIPSOID.inv(start.x, start.y, end.x, end.y)[2])


def _sqlite_covers(area: bytes | None, point: bytes | None) -> int | None:
    if area is None or point is None:
        return None
    return int(_prepared_area(area).covers(shapely.from_wkb(point)))
