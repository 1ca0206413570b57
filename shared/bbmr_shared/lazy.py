"""Names of a package that are imported when they are first used (PEP 562), so that `import` costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(
    package: str, module_of: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Returns `__getattr__` and `__dir__` for the package.

    Args:
        package: the package's `__name__`.
        module_of: name → the module that defines it, absolute or relative to the package. A name that is mapped to
            a module of its own name, `.name`, is that module.
    """
    namespace = sys.modules[package].__dict__

    def get(name: str) -> object:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(module_of[name], package)
        namespace[name] = module if module_of[name] == f".{name}" else getattr(module, name)
        return namespace[name]

    def names() -> list[str]:
        return sorted({*namespace, *module_of})

    return get, names
