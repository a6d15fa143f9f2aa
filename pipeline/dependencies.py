"""What a component's code depends on: the modules that its own module imports.

TFX's cache compares inputs and properties, not code. A digest of the code is therefore one of the
properties. It covers syntax trees without docstrings, so an edit of a comment runs nothing again.
It covers the versions of TFX and TensorFlow too: in the folder of another set of versions, every
component with a digest runs again, and no training is resumed.
"""

import ast
import functools
import hashlib
import importlib.metadata
import pathlib

_ROOT = pathlib.Path(__file__).resolve().parents[1]
# A component's own file reads these folders; of other packages, `digest` takes two versions.
_PACKAGES = ("model", "pipeline", "transforms")
# Of these modules a component uses names and types only. `presets` names every model; a component
# lists the files of its own model itself. Values of settings are properties already.
_NOT_FOLLOWED = ("model.presets", "pipeline.configs", "pipeline.errors")


def digest(*files: str | pathlib.Path) -> str:
    """SHA-256 of the code of files, of all modules of the project that they import, and versions.

    Args:
      files: absolute, or below the project. A file that is not Python counts with its bytes.
    """
    sha = hashlib.sha256()
    for package in ("tfx", "tensorflow"):
        sha.update(f"{package} {importlib.metadata.version(package)}\0".encode())
    for file in sorted(closure(*files)):
        name = file.relative_to(_ROOT) if file.is_relative_to(_ROOT) else pathlib.Path(file.name)
        code = file.read_bytes()
        sha.update(f"{name}\0".encode() + (_code(code) if file.suffix == ".py" else code))
    return sha.hexdigest()


def closure(*files: str | pathlib.Path) -> set[pathlib.Path]:
    """The files, and those of all modules of the project that they import, however deep."""
    waiting = [_ROOT / file for file in files]
    found: set[pathlib.Path] = set()
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        if file.suffix == ".py":
            waiting += [path for name in _imports(file.read_bytes()) if (path := _file(name))]
    return found


@functools.cache  # several components import the same modules
def _imports(source: bytes) -> frozenset[str]:
    """Dotted names that a module imports, at its top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def _file(name: str) -> pathlib.Path | None:
    """The file of a module of the project, if the name is one and a component's digest needs it."""
    if name.split(".")[0] not in _PACKAGES or name in _NOT_FOLLOWED:
        return None
    path = _ROOT.joinpath(*name.split(".")).with_suffix(".py")
    return path if path.is_file() else None


@functools.cache
def _code(source: bytes) -> bytes:
    """The syntax tree of a module as text, without comments, docstrings and places."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree).encode()
