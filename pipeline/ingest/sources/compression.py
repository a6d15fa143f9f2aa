"""What a file is, by its first bytes, and its text decompressed."""

import bz2
import contextlib
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

import zstandard

from pipeline.errors import InputError
from pipeline.ingest.sources import filesystem

PARQUET = "parquet"
_HEAD = 1 << 18
_LONGEST_LINE = 64 << 20  # of the first line, before a file is no text
_MAGIC = {
    "gzip": b"\x1f\x8b",
    "bz2": b"BZh",
    "xz": b"\xfd7zXZ\0",
    "zstd": b"\x28\xb5\x2f\xfd",
    "zip": b"PK\x03\x04",
    PARQUET: b"PAR1",
}
_ENCRYPTED = 0x1  # a flag of a file in a zip file
_OTHER = {b"Obj\x01": "Avro", b"ORC": "ORC", b"SQLite format 3": "an SQLite database"}
_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError, zipfile.BadZipFile)


def kind(path: str) -> str:
    """The compression of a file, "parquet", or "" for plain text."""
    with filesystem.open_binary(path) as file:
        return _kind_of(file.read(16))


def _kind_of(head: bytes) -> str:
    return next((name for name, magic in _MAGIC.items() if head.startswith(magic)), "")


@contextlib.contextmanager
def open_text(path: str, compression: str) -> Iterator[IO[bytes]]:
    """The bytes of a file after decompression.

    Raises:
      InputError: if the file is cut off or damaged, also while it is read; or if
        it is a zip file of several files, with a password, or packed in an unknown way.
    """
    try:
        with filesystem.open_binary(path) as file, contextlib.ExitStack() as stack:
            yield stack.enter_context(_decompressed(path, file, compression))
    except _ERRORS as error:
        raise InputError(
            f"{path!r} is not a whole {compression or 'text'} file ({error}). Fetch it again."
        ) from error


def _decompressed(path: str, file: IO[bytes], compression: str) -> IO[bytes]:
    if compression == "gzip":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if compression == "bz2":
        return bz2.BZ2File(file)  # type: ignore[return-value]
    if compression == "xz":
        return lzma.LZMAFile(file)  # type: ignore[return-value]
    if compression == "zstd":
        return _Zstd(file)  # type: ignore[return-value]
    if compression == "zip":
        archive = zipfile.ZipFile(file)
        members = [
            member
            for member in archive.namelist()
            if not member.endswith("/") and not member.startswith("__MACOSX/")
        ]
        if len(members) != 1:
            raise InputError(
                f"{path!r} is a zip file of {len(members)} files; it must hold one. Unpack it, and "
                "name the folder or the file with ratings."
            )
        if archive.getinfo(members[0]).flag_bits & _ENCRYPTED:
            raise InputError(
                f"{path!r} must be a zip file without a password. Received: {members[0]!r} in it "
                "is encrypted. Unpack it, and name the file."
            )
        try:
            return archive.open(members[0])
        except NotImplementedError as error:
            raise InputError(
                f"{path!r} must be a zip file packed with deflate, bzip2 or lzma. Received: "
                f"{members[0]!r} in it, with method {archive.getinfo(members[0]).compress_type} "
                f"({error}); method 9 is Deflate64. Unpack it, and name the file."
            ) from None
    return contextlib.nullcontext(file)  # type: ignore[return-value]


class _Zstd(contextlib.AbstractContextManager):
    """Reads zstd frames; raises EOFError at a file that is cut off, which zstandard does not."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._rest = file, b""
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._open = False

    def read(self, size: int) -> bytes:
        """At least one byte and about `size`, or b"" at the end."""
        pieces, length = [], 0
        while length < size:
            data = self._rest or self._file.read(1 << 20)
            if not data:
                if self._open:
                    raise EOFError("the last frame is cut off")
                break
            if not self._open:
                self._frame, self._open = zstandard.ZstdDecompressor().decompressobj(), True
            text = self._frame.decompress(data)
            self._rest = b""
            if self._frame.eof:
                self._rest, self._open = self._frame.unused_data, False
            pieces.append(text)
            length += len(text)
        return b"".join(pieces)

    def __exit__(self, *_: object) -> None:
        """The file is closed by whoever opened it."""


def head(path: str, compression: str, setting: str = "ratings") -> bytes:
    """The first whole lines of a file: about 256 KB, at least one.

    Raises:
      InputError: as `open_text`; and for content that is not lines of UTF-8 text.
    """
    with open_text(path, compression) as text:
        data = text.read(_HEAD)
        refuse_other_content(path, data, compression, setting)
        whole = len(data) < _HEAD
        while b"\n" not in data and len(data) < _LONGEST_LINE and not whole:
            more = text.read(1 << 20)
            data, whole = data + more, not more
    return data if whole else data[: data.rfind(b"\n") + 1]


def refuse_other_content(
    path: str, data: bytes, compression: str, setting: str = "ratings"
) -> None:
    """Raises InputError, with a name for what it is, if bytes are no lines of UTF-8 text."""
    what = _other_content(data, compression, setting)
    if what:
        raise InputError(
            f"`{setting}` must be UTF-8 text (plain, gzip, bz2, xz, zstd, or a zip of one file) or "
            f"Parquet. {path!r} is {what}"
        )


def _other_content(data: bytes, compression: str, setting: str) -> str:
    inner = _kind_of(data)
    if inner:
        return f"{inner} inside {compression}. Unpack it once."
    if data[257:262] == b"ustar":
        return f"a tar archive. Unpack it, and name the file with {setting}."
    name = next((name for magic, name in _OTHER.items() if data.startswith(magic)), "")
    if name:
        return f"{name}. Convert it to CSV or Parquet."
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or _is_utf16(data[:4096]):
        return "UTF-16 text. Convert it: iconv -f UTF-16 -t UTF-8."
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:100]
    if start.lower().startswith((b"<!doctype html", b"<html")):
        return "a web page. Download the file itself."
    if start.startswith(b"["):
        return "one JSON array. Write one object a line: jq -c '.[]'."
    if setting == "ratings" and start.startswith((b"{'", b"{u'")):
        return "Python literals, as in the metadata of 2014, not JSON. Give a file of ratings."
    if b"\r" in data.strip() and b"\n" not in data:
        return "text with carriage returns in place of newlines. Convert it: tr '\\r' '\\n'."
    return ""


def _is_utf16(data: bytes) -> bool:
    """Whether every other byte is almost always zero, as in UTF-16 of Latin letters."""
    even, odd = data[0::2], data[1::2]
    return len(odd) > 8 and max(even.count(0), odd.count(0)) > 0.4 * len(odd)
