"""The file in the body of an upload: raw, or as the one file of a form (RFC 7578)."""

import re
from collections.abc import AsyncIterator, Mapping
from email.message import Message
from pathlib import PurePosixPath, PureWindowsPath

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from model_deployment.core.errors import IncompleteBody, InvalidRequest, UnsupportedMediaType

#: The format that a media type means; None: the content tells.
_FORMATS: Mapping[str, str | None] = {
    "": None,
    "application/octet-stream": None,
    "binary/octet-stream": None,
    "text/plain": None,
    "text/csv": "csv",
    "application/csv": "csv",
    "application/vnd.ms-excel": None,  # what browsers on Windows call CSV
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
    "application/parquet": "parquet",
}
_FORM = "multipart/form-data"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LONGEST_NAME = 200


def clean_name(name: str | None) -> str | None:
    """A file's name without folders and characters that cannot be seen; None if nothing is left."""
    base = PureWindowsPath(PurePosixPath(name or "").name).name
    return _UNPRINTABLE.sub("", base).strip()[:_LONGEST_NAME] or None


class UploadedFile:
    """The file of a request, whose pieces can be read once."""

    def __init__(self, headers: Mapping[str, str], pieces: AsyncIterator[bytes]) -> None:
        """
        Raises:
            UnsupportedMediaType: the headers announce something else than a table.
        """
        self.name: str | None = None
        #: ``csv`` or ``parquet``; None: only the content tells.
        self.format: str | None = None
        if coding := headers.get("content-encoding", "").strip().lower().replace("identity", ""):
            raise UnsupportedMediaType(
                f"cannot take a body with Content-Encoding {coding[:40]!a}: send the file as it is; "
                "Parquet is compressed inside"
            )
        described = Message()
        described["content-type"] = headers.get("content-type", "")
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        self._boundary = ""
        if media == _FORM:
            self._boundary = str(described.get_param("boundary") or "")
            if not 0 < len(self._boundary) <= 70:
                raise UnsupportedMediaType(
                    "cannot read the form: its Content-Type has no boundary of at most 70 characters"
                )
        else:
            self.format = _format(media)
        self._pieces = pieces

    async def pieces(self) -> AsyncIterator[bytes]:
        """The content of the file.

        Raises:
            InvalidRequest: the form is not one with one file.
            UnsupportedMediaType: the part of the form is declared as something else than a table.
            IncompleteBody: the form breaks off.
        """
        if not self._boundary:
            async for piece in self._pieces:
                yield piece
            return
        files = 0
        parser = PushMultipartParser(self._boundary, max_segment_count=8)
        try:
            async for chunk in self._pieces:
                for event in parser.parse(chunk) if chunk else ():
                    if isinstance(event, MultipartSegment):
                        files += 1
                        self._begin(event, files)
                    elif event:
                        yield bytes(event)
            parser.close()
        except MultipartError as error:
            raise IncompleteBody(
                f"cannot read the form: {error}. Nothing was kept; send the form again"
            ) from error
        if not files:
            raise InvalidRequest("cannot keep anything: the form has no file")

    def _begin(self, part: MultipartSegment, files: int) -> None:
        if part.filename is None:
            raise InvalidRequest(
                f"cannot use the field {part.name[:60]!a}: send only the file in the form, and the "
                "experiment in the address: ?experiment=NAME"
            )
        if files > 1:
            raise InvalidRequest("cannot keep two files at once: send one in each request")
        self.name = clean_name(part.filename)
        self.format = _format((part.content_type or "").partition(";")[0].strip().lower())


def _format(media: str) -> str | None:
    if media not in _FORMATS:
        raise UnsupportedMediaType(
            f"cannot read a body of the type {media[:80]!a}: send CSV with the Content-Type text/csv, or "
            "Parquet with application/vnd.apache.parquet"
        )
    return _FORMATS[media]
