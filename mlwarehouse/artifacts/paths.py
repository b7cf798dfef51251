"""Paths of artifacts: one spelling each, and none that leads out of its folder.

A path is refused rather than repaired. Whatever decodes, normalises or joins it later (a URL, a file system, a
browser) then has nothing to turn into a second meaning: that is how checks of paths get bypassed.
"""

from __future__ import annotations

import re
import unicodedata

from mlwarehouse.errors import InvalidInputError

MAX_SEGMENT_BYTES = 255
"""What a file name may hold on the usual file systems."""

MAX_PATH_BYTES = 2048
"""Leaves room for the folder in front within the 4,096 bytes of a POSIX path."""

_FORBIDDEN = {
    "\\": "a backslash, which separates folders on Windows; write `/`",
    "%": "a `%`, which could be decoded into another character",
    ":": "a `:`, which starts a drive, a stream or a URL scheme",
    ";": "a `;`, which ends a path in some URLs",
    "?": "a `?`, which ends a path in URLs",
    "#": "a `#`, which ends a path in URLs",
}

_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])( *\..*)?", re.IGNORECASE)
"""Names that Windows takes for devices, in any folder and with any suffix."""

_FORBIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Control characters, invisible format characters, undecodable bytes, line and paragraph separators."""


def clean_path(path: str) -> str:
    """Check the path of an artifact; what comes back stays inside whatever folder it is joined to.

    Args:
        path: Relative, with ``/`` between folders.

    Returns:
        The same text.

    Raises:
        InvalidInputError: It is empty or absolute, has an empty, ``.`` or ``..`` segment, a segment of more than
            255 bytes, one that ends with a dot or space or is a device on Windows, or a character that some file
            system, URL or display would read as another one.
    """
    if not path:
        raise InvalidInputError("An artifact path is needed; got an empty text.")
    if path.startswith("/"):
        raise InvalidInputError(f"Artifact path {_shown(path)} is absolute; give it relative to the run's artifacts.")
    for character in path:
        if character in _FORBIDDEN:
            raise InvalidInputError(f"Artifact path {_shown(path)} holds {_FORBIDDEN[character]}.")
        if unicodedata.category(character) in _FORBIDDEN_CATEGORIES:
            raise InvalidInputError(
                f"Artifact path {_shown(path)} holds the invisible or undecodable character U+{ord(character):04X}; "
                "rename the file."
            )
    plain = unicodedata.normalize("NFKC", path)
    if plain != path:
        raise InvalidInputError(
            f"Artifact path {_shown(path)} holds characters that some systems read as others; write it as "
            f"{_shown(plain)}."
        )
    if len(path.encode()) > MAX_PATH_BYTES:
        raise InvalidInputError(
            f"Artifact path {_shown(path)} has {len(path.encode())} bytes; at most {MAX_PATH_BYTES} are allowed."
        )
    for segment in path.split("/"):
        if segment in ("", ".", ".."):
            raise InvalidInputError(
                f"Artifact path {_shown(path)} has the segment `{segment}`; each name between `/` must be a real one."
            )
        if segment[-1] in ". " or _DEVICE.fullmatch(segment):
            raise InvalidInputError(
                f"Artifact path {_shown(path)} has the name `{segment}`, which Windows reads as another one or as a "
                "device; rename the file."
            )
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            raise InvalidInputError(
                f"Artifact path {_shown(path)} has a name of {len(segment.encode())} bytes; at most "
                f"{MAX_SEGMENT_BYTES} are allowed."
            )
    return path


def _shown(path: str) -> str:
    """The path for a message: short, and with nothing invisible in it."""
    short = path if len(path) <= 80 else path[:77] + "..."
    return f"`{ascii(short)[1:-1]}`"
