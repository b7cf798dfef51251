"""Makes a TorchScript archive safe to hand to ``torch.jit.load``.

PyTorch reads its records without Python's pickle. But TorchScript is a language: its code can call operators that read
and write files, also while the archive is loaded, and can bind classes of C++ libraries, one of which loads programs.
So the code's words are looked at first, and PyTorch gets a new archive of exactly the records that were looked at,
since two readers of one archive may see different ones.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

from mlwarehouse.errors import ModelError, PickleRefusedError
from mlwarehouse.models.archives import check_archive

_FILE_OPERATOR = re.compile(rb"\b(save|from_file|read_file|write_file|load_library)\b")
_GETATTR = re.compile(rb"\bgetattr\b")
_PLAIN_GETATTR = re.compile(rb"\bgetattr\([\w.]+, \"[^\"\\\n]*\"\)")
_BOUND_CLASS = re.compile(rb"torch\.classes\.(?!(?:quantized|sparse|xnnpack)\b)[\w.]*")


def checked_script(file: Path) -> io.BytesIO:
    """Read an archive and make one of the same records, if its code reaches no files.

    Raises:
        PickleRefusedError: Its code has a word for files, or binds a class that isn't known to be harmless.
        ModelError: It isn't a TorchScript archive.
    """
    check_archive(file)
    with zipfile.ZipFile(file) as archive:
        try:
            records = {name: archive.read(name) for name in archive.namelist()}
        except (zipfile.BadZipFile, NotImplementedError, OSError, RuntimeError) as error:
            raise ModelError(f"`{file}` can't be read as TorchScript: {error}.") from error
    for name, content in records.items():
        inside = name.partition("/")[2]
        if inside.startswith("code/") and not inside.endswith(".debug_pkl"):
            _check_code(file, content)
        if inside.startswith("code/") or inside.endswith(".pkl"):
            _refuse(file, _BOUND_CLASS.search(content), "the class of a C++ library")
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, content in records.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    made.seek(0)
    return made


def _check_code(file: Path, code: bytes) -> None:
    _refuse(file, _FILE_OPERATOR.search(code), "a word for files")
    # An attribute by its name as text could spell any of those words in pieces; PyTorch itself writes only this form.
    if len(_GETATTR.findall(code)) != len(_PLAIN_GETATTR.findall(code)):
        _refuse(file, _GETATTR.search(code), "an attribute by a computed name")


def _refuse(file: Path, found: re.Match[bytes] | None, what: str) -> None:
    if found is not None:
        raise PickleRefusedError(
            f"`{file}` holds {what} (`{found.group().decode(errors='replace')}`) in its TorchScript code, which could "
            "read or write files, so it isn't read; rename it if it is a name of your own, or use torch.export."
        )
