"""Frozen values with named fields: what `dataclass(frozen=True, slots=True)` gives, without its import.

`dataclasses` loads `inspect` and `re`, 15 ms of a one-shot query that takes 25 in all.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, dataclass_transform
else:

    def dataclass_transform(**_: object):  # noqa: ANN201, D103
        return lambda cls: cls


@dataclass_transform(frozen_default=True, eq_default=True)
class RecordType(type):
    """Turns the annotations of a class body into slots and an `__init__`, as a dataclass would."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> RecordType:  # noqa: D102
        own = tuple(namespace.get("__annotations__", ()))
        defaults = {field: namespace.pop(field) for field in own if field in namespace}
        namespace["__slots__"] = own
        cls = super().__new__(mcs, name, bases, namespace)
        inherited: tuple[str, ...] = getattr(bases[0], "_fields", ()) if bases else ()
        cls._fields = inherited + own  # type: ignore[attr-defined]
        cls._defaults = {**getattr(bases[0], "_defaults", {}), **defaults} if bases else {}  # type: ignore[attr-defined]
        if bases:
            cls.__init__ = _init_until_used_often(cls)  # type: ignore[misc]
        return cls


_COMPILED_AFTER = 16  # calls: to compile an `__init__` takes as long as a hundred of the plain way


def _init_until_used_often(cls: Any) -> Any:  # noqa: ANN401
    """Give an `__init__` that compiles a quicker one in its place when it has been called often."""
    calls_left = _COMPILED_AFTER

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807, ANN401
        nonlocal calls_left
        calls_left -= 1
        fields = cls._fields
        values = {**cls._defaults, **dict(zip(fields, args, strict=False)), **kwargs}
        is_right = len(args) <= len(fields) and kwargs.keys().isdisjoint(fields[: len(args)])
        if calls_left and is_right and values.keys() == set(fields):
            for field, value in values.items():
                object.__setattr__(self, field, value)
        else:
            cls.__init__ = _make_init(cls)  # which knows what to say of wrong arguments
            cls.__init__(self, *args, **kwargs)

    return __init__


def _make_init(cls: Any) -> Any:  # noqa: ANN401
    """Compile `__init__`; the field names come from class bodies of this package, never from data."""
    fields, defaults = cls._fields, cls._defaults
    parameters = [f"{field}=_defaults[{field!r}]" if field in defaults else field for field in fields]
    body = [f"    _set_{field}(self, {field})" for field in fields] or ["    pass"]
    source = "\n".join([f"def __init__(self, {', '.join(parameters)}):", *body])
    scope: dict[str, Any] = {f"_set_{field}": getattr(cls, field).__set__ for field in fields}
    scope["_defaults"] = defaults
    # Compiled apart: Python 3.11 takes a Ctrl-C in the exec() of a text for one that nobody caught, and ends.
    exec(compile(source, "<record>", "exec"), scope)  # noqa: S102
    return scope["__init__"]


class Record(metaclass=RecordType):
    """Base of the values that leave a module: compared by content, never changed."""

    if TYPE_CHECKING:
        _fields: ClassVar[tuple[str, ...]]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be set: records do not change")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be deleted: records do not change")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, field) == getattr(other, field) for field in self._fields)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, field) for field in self._fields)))

    def __repr__(self) -> str:
        shown = ", ".join(f"{field}={getattr(self, field)!r}" for field in self._fields)
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), tuple(getattr(self, field) for field in self._fields)
