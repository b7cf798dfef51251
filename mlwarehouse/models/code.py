"""Where a model's class is: its reference, its source kept in the package, and finding it again.

A class from an installed package is found by importing it. Any other class has its source put under ``code/``: whole
module files (and those local modules that they import) for modules; for a script or notebook only the definitions
that the class needs, since running all of it again would train again.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import json
import sys
import sysconfig
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mlwarehouse.artifacts import clean_path
from mlwarehouse.errors import InvalidInputError, ModelError
from mlwarehouse.models.source import sliced_source

CODE_FOLDER = "code"
MAIN = "__main__"

_import_lock = threading.RLock()
_kept: weakref.WeakKeyDictionary[type, dict[str, str]] = weakref.WeakKeyDictionary()
"""Sources of classes that came out of packages, so that a loaded model can be saved again."""


@dataclass(frozen=True)
class ClassReference:
    """The name under which a class is found.

    Attributes:
        module: Its module.
        qualname: Its name in it; with dots for a class within a class.
    """

    module: str
    qualname: str

    def __str__(self) -> str:
        return f"{self.module}:{self.qualname}"

    @classmethod
    def parse(cls, text: str) -> ClassReference:
        """Read ``module:QualName``.

        Raises:
            ModelError: It isn't of that form.
        """
        module, _, qualname = text.partition(":")
        if not all(part.isidentifier() for part in (*module.split("."), *qualname.split("."))):
            raise ModelError(f"`{text}` names no class; a class reference is `module:QualName`.")
        return cls(module, qualname)


def reference_of(cls: type) -> ClassReference:
    """The reference under which a class can be found again.

    Raises:
        ModelError: It is defined within a function, where nobody else can reach it.
    """
    if "<locals>" in cls.__qualname__:
        raise ModelError(
            f"Class `{cls.__qualname__}` is defined within a function, so it can't be found again; define it at the "
            "top level of a module, or save the model with flavor='torch_export'."
        )
    module = cls.__module__
    spec = getattr(sys.modules.get(MAIN), "__spec__", None)
    if module == MAIN and spec is not None and not spec.name.endswith(MAIN):
        module = spec.name  # run by `python -m`: it has a name to import it by
    return ClassReference(module, cls.__qualname__)


def captured_source(cls: type, reference: ClassReference) -> dict[str, str]:
    """The sources that a package needs to rebuild a class.

    Returns:
        Source text by path under `CODE_FOLDER`; empty for a class of an installed package.

    Raises:
        ModelError: The source isn't anywhere, as for a class typed into an interactive prompt.
    """
    if cls in _kept:
        return dict(_kept[cls])
    if reference.module == MAIN:
        return _captured_main(cls)
    module = sys.modules.get(reference.module) or importlib.import_module(reference.module)
    if _is_installed(module):
        return {}
    sources: dict[str, str] = {}
    _add_module(module, sources)
    if not sources:
        raise _no_source(cls)
    return sources


def plain_arguments(init_args: Mapping[str, Any], reference: ClassReference) -> dict[str, Any]:
    """The arguments that rebuild a class, as the plain values that a package can hold.

    Raises:
        ModelError: They aren't.
    """
    try:
        plain = json.loads(json.dumps(dict(init_args), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ModelError(f"init_args of `{reference}` must be plain JSON values: {error}.") from error
    if not isinstance(plain, dict) or plain.keys() != init_args.keys():
        raise ModelError(f"init_args of `{reference}` must have argument names as keys.")
    return plain


def write_code(folder: Path, cls: type, reference: ClassReference) -> bool:
    """Put what `captured_source` finds under a package's `CODE_FOLDER`; False when nothing is needed."""
    sources = captured_source(cls, reference)
    for path, source in sources.items():
        (folder / CODE_FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / CODE_FOLDER / path).write_text(source, encoding="utf-8")
    return bool(sources)


def find_class(reference: ClassReference, code: Path, *, allow_code: bool) -> type:
    """Find a class: by import, or else in the source that its package brought.

    Args:
        reference: Its name.
        code: The package's `CODE_FOLDER`; it needn't be there.
        allow_code: Whether source from the package may run.

    Raises:
        ModelError: It is in neither place, isn't a class, or is only in the package and `allow_code` is false.
    """
    why = "it was defined in a script or notebook"
    if reference.module != MAIN:
        try:
            return _class_in(importlib.import_module(reference.module), reference)
        except Exception as error:  # whatever stops the import, the package may have brought the source
            why = str(error)
    if not code.is_dir():
        raise ModelError(
            f"The model's class `{reference}` can't be imported here ({why}); install the package it is in."
        )
    if not allow_code:
        raise ModelError(
            f"The model's class `{reference}` can't be imported here ({why}), and running the source that came with "
            "the model isn't allowed; install the package it is in, or pass allow_code=True."
        )
    try:
        found = _class_in(_import_main(code) if reference.module == MAIN else _import_from(code, reference), reference)
    except Exception as error:
        raise ModelError(f"The source that came with the model gives no class `{reference}`: {error}.") from error
    _kept[found] = {
        p.relative_to(code).as_posix(): p.read_text(encoding="utf-8") for p in sorted(code.rglob("*.py")) if p.is_file()
    }
    return found


@contextmanager
def importing_from(code: Path) -> Iterator[None]:
    """Within it, modules under a folder are importable and win over others of their names; after it, they are gone.

    Two packages may bring different modules of one name, so what one brought must not stay for the other to find.
    """
    tops = {p.stem if p.suffix == ".py" else p.name for p in code.iterdir() if p.suffix == ".py" or p.is_dir()}
    with _import_lock:
        before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in tops}
        writes_bytecode = sys.dont_write_bytecode
        # A compiled file beside the source would be a file that the package's manifest doesn't know.
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(code))
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(str(code))
            sys.dont_write_bytecode = writes_bytecode
            for name in [n for n in sys.modules if n.partition(".")[0] in tops]:
                del sys.modules[name]
            sys.modules.update(before)


def importing_from_entry(folder: Path, code: object) -> AbstractContextManager[None]:
    """`importing_from` the folder that a package of MLflow's names for its source; nothing where it names none.

    Raises:
        ModelError: The folder isn't in the package.
    """
    if not code:
        return nullcontext()
    try:
        place = folder / clean_path(str(code))
    except InvalidInputError as error:
        raise ModelError(f"The model in `{folder}` names a folder it can't have: {error}") from error
    if not place.is_dir():
        raise ModelError(f"The model in `{folder}` lacks its folder `{code}`.")
    return importing_from(place)


def _import_from(code: Path, reference: ClassReference) -> ModuleType:
    with importing_from(code):
        return importlib.import_module(reference.module)


def _import_main(code: Path) -> ModuleType:
    file = code / f"{MAIN}.py"
    # A name of its own: neither the running script's `__main__`, whose guard it must not pass, nor another package's.
    name = f"mlwarehouse_code_{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    with importing_from(code):
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise ModelError(f"`{file}` can't be imported.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def _class_in(module: ModuleType, reference: ClassReference) -> type:
    found: Any = module
    for name in reference.qualname.split("."):
        found = getattr(found, name)
    if not isinstance(found, type):
        raise ModelError(f"`{reference}` is a {type(found).__name__}, not a class.")
    return found


def _is_installed(module: ModuleType) -> bool:
    if module.__name__.partition(".")[0] in {*sys.stdlib_module_names, "mlwarehouse"}:
        return True
    file = getattr(module, "__file__", None)
    if file is None:
        return not hasattr(module, "__path__")  # built in; or a folder without `__init__.py`
    places = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")}
    parts = Path(file).parts
    return "site-packages" in parts or "dist-packages" in parts or any(Path(file).is_relative_to(p) for p in places)


def _add_module(module: ModuleType, sources: dict[str, str]) -> None:
    """Put a local module's source, its parents' and that of the local modules it imports, into `sources`."""
    file = Path(getattr(module, "__file__", None) or "")
    if _is_installed(module) or file.suffix != ".py" or not file.is_file():
        return
    path = module.__name__.replace(".", "/") + ("/__init__.py" if hasattr(module, "__path__") else ".py")
    if path in sources:
        return
    sources[path] = file.read_text(encoding="utf-8")
    parent = module.__name__.rpartition(".")[0]
    package = module.__name__ if hasattr(module, "__path__") else parent
    for name in (parent, *_imported_names(sources[path], package)):
        if name in sys.modules:
            _add_module(sys.modules[name], sources)


def _imported_names(source: str, package: str) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                names += [".".join(parts[: n + 1]) for n in range(len(parts))]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                base = ".".join([*above[: len(above) - node.level + 1], *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def _captured_main(cls: type) -> dict[str, str]:
    main = sys.modules[MAIN]
    cells = getattr(main, "_ih", None)  # what IPython has run, as plain Python
    if not isinstance(cells, list):
        file = getattr(main, "__file__", None)
        cells = [Path(file).read_text(encoding="utf-8")] if file is not None and Path(file).is_file() else []
    source = sliced_source([str(c) for c in cells], cls.__qualname__.partition(".")[0])
    if source is None:
        raise _no_source(cls)
    sources = {f"{MAIN}.py": source}
    for name in _imported_names(source, ""):
        if name in sys.modules:
            _add_module(sys.modules[name], sources)
    return sources


def _no_source(cls: type) -> ModelError:
    return ModelError(
        f"The source of class `{cls.__module__}:{cls.__qualname__}` isn't in any file or notebook cell, so the model "
        "couldn't be rebuilt elsewhere; put the class into a module, or save the model with flavor='torch_export'."
    )
