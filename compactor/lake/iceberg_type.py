"""The types of fields as PyIceberg has them."""

from __future__ import annotations

from collections.abc import Iterator

from pyiceberg.types import IcebergType, MapType, StringType

from compactor.types.field_type import MAP, FieldType


def iceberg_type(type_: FieldType, ids: Iterator[int]) -> IcebergType:
    """A type as Iceberg has it. `ids` gives the field ids of what is nested in it."""
    if type_ == MAP:
        return MapType(next(ids), StringType(), next(ids), StringType(), value_required=False)
    return IcebergType.model_validate(type_.iceberg)
