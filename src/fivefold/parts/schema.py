"""What a picture of a part is. Travels inside the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fivefold.pictures.schema import PictureSchema


@dataclass(frozen=True)
class PartSchema(PictureSchema):
    """Pictures of `channels`, of any size, that show good parts; see `PictureSchema`."""

    kind: ClassVar[str] = "part"


SCHEMA = PartSchema
