"""Forms in which data come and go: media types, endings of files, and which of them an answer has."""

from __future__ import annotations

import mimetypes
import tempfile
import uuid
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from fivefold.errors import FivefoldError, UsageError
from fivefold.modality import Modality
from fivefold.verbs.catalogue import Gives, Takes

JSON, ZIP, CSV, BYTES = "application/json", "application/zip", "text/csv", "application/octet-stream"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
NPY, NPZ, PNG = "application/x-npy", "application/x-npz", "image/png"
PICTURES = "image/*"  # a file for each picture, of the type in which it came
ENDINGS = {
    CSV: ".csv",
    "text/tab-separated-values": ".tsv",
    "text/plain": ".txt",
    "application/vnd.apache.parquet": ".parquet",
    ARROW_STREAM: ".arrow",
    "application/vnd.apache.arrow.file": ".feather",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    NPY: ".npy",
    NPZ: ".npz",
    PNG: ".png",
    "image/tiff": ".tif",
    "audio/wav": ".wav",
}
_OTHERS = {
    "application/csv": ".csv",
    "application/parquet": ".parquet",
    "application/x-parquet": ".parquet",
    "application/vnd.ms-excel": ".xls",
    "application/numpy": ".npy",
    "audio/x-wav": ".wav",
    "audio/wave": ".wav",
    "audio/vnd.wave": ".wav",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
}
_MEDIA = {ending: media for media, ending in ENDINGS.items()}
_KNOWN = frozenset(
    {
        *ENDINGS.values(),
        *_OTHERS.values(),
        ".jpeg",
        ".tiff",
        ".pgm",
        ".ppm",
        ".gz",
        ".bz2",
        ".xz",
        ".zst",
        ".idx",
        ".ff",
    }
)
_LONGEST = 16
_ARRAYS = (NPY, NPZ, "audio/wav")
_STARTS = (
    (b"\x89PNG\r\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"\x93NUMPY", ".npy"),
    (b"PAR1", ".parquet"),
    (b"ARROW1", ".arrow"),
    (b"RIFF", ".wav"),
)


class NotAcceptableError(FivefoldError):
    """No answer is to be had in any of the forms that were asked for."""


def ending_of(media: str, name: str = "", start: bytes = b"") -> str:
    """Of a file for content of this media type and file name, or that starts so; empty if nothing tells.

    Of the name nothing is used but endings that are known, so that no text from a request becomes part of a path.
    """
    suffixes = [suffix.lower() for suffix in Path(name[-_LONGEST:].replace("\\", "/")).suffixes[-2:]]
    if suffixes and suffixes[-1] in _KNOWN:
        packed = len(suffixes) == 2 and suffixes[0] in _KNOWN and suffixes[1] in (".gz", ".bz2", ".xz", ".zst")
        return "".join(suffixes) if packed else suffixes[-1]
    if found := ENDINGS.get(media) or _OTHERS.get(media):
        return found
    return next((ending for first, ending in _STARTS if start.startswith(first)), "")


def media_of(ending: str) -> str:
    """The media type of a file with this ending."""
    return _MEDIA.get(ending) or mimetypes.guess_type(f"x{ending}")[0] or BYTES


def is_picture(ending: str) -> bool:
    """Whether files of this ending hold pictures."""
    return media_of(ending).startswith("image/")


def choices(modality: Modality, gives: Gives, takes: Takes) -> list[str]:
    """The forms that results can have."""
    if gives == "archive":
        return [BYTES]
    if gives == "codes":
        return [JSON, NPY, NPZ, ZIP]
    if gives == "scores":
        tables = [media for media, ending in ENDINGS.items() if ending not in (".npy", ".npz", ".png", ".tif", ".wav")]
        return [JSON, *tables, ZIP]
    media = [media for media, ending in ENDINGS.items() if _has_place(modality, ending)]
    return [JSON, *media, ZIP] + ([PICTURES] if takes == "data" and _has_place(modality, "") else [])


def choose(accept: str, came: str, offered: Sequence[str]) -> str:
    """The form of an answer: what the header `Accept` prefers, else that in which the data came, else the first.

    Raises `NotAcceptableError`.
    """
    pictures = came.startswith("image/") and PICTURES in offered
    usual = PICTURES if pictures else came if came in offered else offered[0]
    ranges = []
    for part in accept.split(",")[:20]:
        media, *parameters = (word.strip().lower() for word in part.split(";"))
        weights = [word[2:] for word in parameters if word.startswith("q=")]
        try:
            weight = float(weights[0]) if weights else 1.0
        except ValueError:
            weight = 0.0
        if media and weight > 0:
            ranges.append((-weight, media))
    for _, media in sorted(ranges, key=lambda pair: pair[0]):
        if media in ("*/*", "*") or (media.endswith("/*") and usual.startswith(media[:-1])):
            return usual
        if media.endswith("/*"):
            first = next((form for form in offered if form.startswith(media[:-1])), None)
        else:
            first = media if media in offered and media != PICTURES else None
        if first is not None:
            return first
    if not ranges:
        return usual
    raise NotAcceptableError(f"`accept` must allow one of {', '.join(form for form in offered if form != PICTURES)}")


def file_ending(form: str, modality: Modality, gives: Gives, came: str) -> str:
    """Of the file that results go to first, for an answer in this form; empty for a folder of pictures."""
    if form == PICTURES:
        return ""
    if form == ZIP and came.startswith("image/") and gives == "items" and _has_place(modality, ""):
        return ""
    if form in ENDINGS:
        return ENDINGS[form]
    if form == ZIP and came in ENDINGS and (gives != "items" or _has_place(modality, ENDINGS[came])):
        allowed = {"codes": (".npy", ".npz"), "scores": (".csv", ".tsv", ".parquet", ".arrow", ".xlsx")}
        if gives == "items" or ENDINGS[came] in allowed.get(gives, ()):
            return ENDINGS[came]
    if gives in ("archive", "codes"):
        return ".ff" if gives == "archive" else ".npz"
    if gives == "scores":
        return ".arrow" if form == JSON else ".csv"
    as_table = _has_place(modality, ".arrow") and not (came in _ARRAYS and _has_place(modality, ".npy"))
    return ".npy" if not as_table else ".arrow" if form == JSON else ".csv"


@cache
def _has_place(modality: Modality, ending: str, role: str = "") -> bool:
    """Whether the modality writes such files."""
    try:
        modality.data.place(Path(tempfile.gettempdir()) / f"{uuid.uuid4().hex}{ending}", True, role)
    except UsageError:
        return False
    return True


def beside_ending(ending: str, modality: Modality, role: str) -> str:
    """Of a file beside the results, whose ending is given: the same if it can be."""
    return ending if _has_place(modality, ending, role) else ".npy" if _has_place(modality, ".npy", role) else ".csv"
