"""Multipart forms with large files: parsed as they arrive, straight into the spool.

Ordinary fields stay in memory and are small, one by one and all together; the file, and samples of
known voices, which OpenAI sends as fields, go to spool files. How much memory and how many
descriptors a request holds does not depend on what a client sends.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import ExitStack

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from backend.app.api.openai.audio_schemas import MOST_SPEAKERS
from backend.app.audio.spool import Spool, SpoolFile
from backend.app.errors import InvalidRequest, TooLarge, UnsupportedMedia

FILE = "file"
VOICES = "known_speaker_references"
FIELD_BYTES = 64 * 1024
"""Of one ordinary field."""
FIELDS_BYTES = 1 << 20
"""Of all of them, names included."""
VOICE_BYTES = 32 << 20
"""Of one sample of a known voice, as the text of a data URL."""
MOST_VOICES = MOST_SPEAKERS
"""Each holds a descriptor once it is decoded."""
MOST_PARTS = 250
BOUNDARY_BYTES = 70
"""The most that RFC 2046 allows."""
_DATA_URL = re.compile(
    rb"""data:[\w.+-]*/?[\w.+-]*(?:\s*;\s*[\w.+-]+(?:=(?:[\w.+-]+|"[^"]{0,100}"))?)*\s*;\s*base64,""",
    re.IGNORECASE,
)


class Form:
    """A form that has been read. Whoever has it must close it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.fields: dict[str, list[str]] = {}
        self.file: SpoolFile | None = None
        self.filename = ""
        self.voices: list[SpoolFile] = []
        self._text_bytes = 0

    def open(self, spool: Spool) -> SpoolFile:
        return self._stack.enter_context(spool.file())

    def count(self, size: int) -> None:
        """`size` bytes more stay in memory. Raises TooLarge."""
        self._text_bytes += size
        if self._text_bytes > FIELDS_BYTES:
            raise TooLarge(f"The form's text fields are larger than {FIELDS_BYTES} bytes together.")

    def close(self) -> None:
        """Remove its files. Idempotent."""
        self._stack.close()


class _Part:
    """One part on its way in."""

    def __init__(self, form: Form, spool: Spool, disposition: bytes) -> None:
        kind, options = parse_options_header(disposition)
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise InvalidRequest("A part of the form has no name.")
        self.name = name.decode("utf-8", "replace")
        self._form = form
        form.count(len(name))
        self._text = bytearray()
        self._spooled: SpoolFile | None = None
        self._limit: float = FIELD_BYTES
        if self.name == FILE:
            if form.file is not None:
                raise InvalidRequest("The form holds more than one file.", param=FILE)
            form.filename = options.get(b"filename", b"").decode("utf-8", "replace")
            form.file = self._spooled = form.open(spool)
            self._limit = float("inf")
        elif self.name == f"{FILE}[]":
            raise InvalidRequest(
                f"Send the recording as '{FILE}', not as '{self.name}'.", param=FILE
            )
        elif self.name.removesuffix("[]") == VOICES:
            if len(form.voices) == MOST_VOICES:
                raise InvalidRequest(
                    f"At most {MOST_VOICES} known speakers can be given.", param=VOICES
                )
            self._spooled = form.open(spool)
            form.voices.append(self._spooled)
            self._limit = VOICE_BYTES

    async def write(self, data: bytes) -> None:
        size = len(self._text) if self._spooled is None else self._spooled.size
        if size + len(data) > self._limit:
            raise TooLarge(
                f"The field '{self.name}' is larger than {self._limit:.0f} bytes.", param=self.name
            )
        if self._spooled is None:
            self._form.count(len(data))
            self._text += data
        else:
            await self._spooled.write(data)

    async def end(self) -> None:
        if self._spooled is None:
            text = self._text.decode("utf-8", "replace")
            self._form.fields.setdefault(self.name, []).append(text)


class _Parser:
    """python-multipart's callbacks as a list of what happened in a piece of the body."""

    def __init__(self, boundary: bytes) -> None:
        self._happened: list[tuple[str, bytes]] = []
        self._name = bytearray()
        self._value = bytearray()
        self.ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_begin": self._header_begins,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header_ends,
                "on_part_begin": lambda: self._happened.append(("begin", b"")),
                "on_part_data": lambda data, start, end: self._happened.append(
                    ("data", data[start:end])
                ),
                "on_part_end": lambda: self._happened.append(("end", b"")),
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        try:
            self._parser.write(data)
        except FormParserError as exc:
            if "header" in str(exc).lower():
                raise InvalidRequest(
                    "A part of the form has too long a header: its filename, perhaps, which may"
                    " have some 4000 characters."
                ) from None
            raise InvalidRequest(f"The multipart form is malformed: {exc}") from None
        happened, self._happened = self._happened, []
        yield from happened

    def _header_begins(self) -> None:
        self._name.clear()
        self._value.clear()

    def _header_ends(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._happened.append(("disposition", bytes(self._value)))

    def _end(self) -> None:
        self.ended = True


async def read_form(request: Request, spool: Spool) -> Form:
    """Read the whole body. Raises GatewayError, or ClientDisconnect when the client leaves."""
    parser = _Parser(_boundary(request))
    form = Form()
    part: _Part | None = None
    parts = 0
    try:
        async for piece in request.stream():
            for what, data in parser.feed(piece):
                if what == "begin":
                    parts += 1
                    if parts > MOST_PARTS:
                        raise InvalidRequest(f"The form has more than {MOST_PARTS} parts.")
                elif what == "disposition":
                    part = _Part(form, spool, data)
                elif part is None:
                    raise InvalidRequest("A part of the form has no name.")
                elif what == "data":
                    await part.write(data)
                else:
                    await part.end()
                    part = None
        if not parser.ended:
            raise InvalidRequest("The multipart form ends before its last boundary.")
    except BaseException:
        form.close()
        raise
    return form


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        sent = kind.decode("latin-1") or "nothing"
        raise UnsupportedMedia(
            f"Send the recording as multipart/form-data, not as {sent}.",
            code="unsupported_content_type",
            permanent=True,
        )
    packed = request.headers.get("content-encoding", "identity")
    if packed.lower() not in {"", "identity"}:
        raise UnsupportedMedia(
            f"Send the form as it is, not with Content-Encoding '{packed}'.",
            code="unsupported_content_encoding",
            permanent=True,
        )
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= BOUNDARY_BYTES:
        raise InvalidRequest("The Content-Type has no boundary of a proper length.")
    return boundary


async def decode_voice(text: SpoolFile, spool: Spool, form: Form, number: int) -> SpoolFile:
    """The file within a data URL; both belong to the form. Raises InvalidRequest."""
    param = f"{VOICES}[{number}]"
    head = _DATA_URL.match(await text.read(0, 256))
    if head is None:
        raise InvalidRequest(
            "A known speaker's reference must be a data URL, as 'data:audio/wav;base64,…'.",
            param=param,
        )
    audio = form.open(spool)
    left = b""
    try:
        async for data in text.slices(head.end()):
            joined = left + data.translate(None, b" \r\n\t")
            whole = len(joined) // 4 * 4
            await audio.write(base64.b64decode(joined[:whole], validate=True))
            left = joined[whole:]
        await audio.write(base64.b64decode(left, validate=True))
    except binascii.Error:
        raise InvalidRequest("The reference is not valid base64.", param=param) from None
    text.close()
    return audio
