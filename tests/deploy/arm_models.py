"""What Azure's own clients know of a resource: the names, types and values of its properties."""

import enum
import sys
import types
import typing
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shape:
    """What a value may be; an empty shape may be anything."""

    kind: str = "any"
    members: dict = field(default_factory=dict)
    item: "Shape | None" = None
    values: frozenset = frozenset()
    is_required: bool = False
    is_read_only: bool = False


#: A whole number is a number.
_ACCEPTED = {"float": ("float", "int")}
_SIMPLE = {str: "str", bool: "bool", int: "int", float: "float"}


def shape_of(model):
    """Return the shape of a model, of both generations of Azure's generator."""
    if hasattr(model, "_attribute_map"):
        return _older(model)
    members = {}
    for owner in reversed(model.__mro__):
        models = sys.modules.get(owner.__module__.rpartition(".")[0])
        space = {**vars(sys.modules[owner.__module__]), "_models": models}
        for name, value in vars(owner).items():
            if type(value).__name__ != "_RestField":
                continue
            annotation = owner.__annotations__[name]
            hint = eval(annotation, space) if isinstance(annotation, str) else annotation  # noqa: S307
            members[value._rest_name_input or name] = _with(
                _of_hint(hint, space),
                is_required=type(None) not in typing.get_args(hint),
                is_read_only=value._visibility == ["read"],
            )
    return Shape("object", members)


def _with(shape, *, is_required, is_read_only):
    return Shape(shape.kind, shape.members, shape.item, shape.values, is_required, is_read_only)


def _of_hint(hint, space):
    if isinstance(hint, typing.ForwardRef):
        hint = hint.__forward_arg__
    if isinstance(hint, str):
        hint = eval(hint, space)  # noqa: S307
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        shapes = [_of_hint(each, space) for each in arguments if each is not type(None)]
        return next((each for each in shapes if each.kind == "enum"), shapes[0])
    if origin is typing.Literal:
        return Shape("enum", values=frozenset(getattr(each, "value", each) for each in arguments))
    if origin is list:
        return Shape("list", item=_of_hint(arguments[0], space))
    return _of_class(hint) if isinstance(hint, type) else Shape()


def _of_class(hint):
    if hint in _SIMPLE:
        return Shape(_SIMPLE[hint])
    if issubclass(hint, enum.Enum):
        return Shape("enum", values=frozenset(each.value for each in hint))
    return shape_of(hint) if hint.__module__.startswith("azure.mgmt") else Shape()


def _older(model):
    space, top = vars(sys.modules[model.__module__.rpartition(".")[0]]), {}
    for name, entry in model._attribute_map.items():
        *folders, last = entry["key"].split(".")
        members = top
        for folder in folders:
            members = members.setdefault(folder, Shape("object")).members
        rule = model._validation.get(name, {})
        members[last] = _with(
            _of_name(entry["type"], space),
            is_required=rule.get("required", False),
            is_read_only=rule.get("readonly", False),
        )
    return Shape("object", top)


def _of_name(name, space):
    if name.startswith("["):
        return Shape("list", item=_of_name(name[1:-1], space))
    if name in ("str", "bool", "int"):
        return Shape(name)
    return shape_of(space[name]) if hasattr(space.get(name), "_attribute_map") else Shape()


def problems(value, shape, path=""):
    """Yield what the shape does not allow; an expression, a `str` with its own type, may be anything."""
    if isinstance(value, Expression) or shape.kind == "any":
        return
    if shape.kind == "object":
        yield from _problems_of_members(value, shape, path)
    elif shape.kind == "list":
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            yield from problems(item, shape.item, f"{path}[{index}]")
    elif shape.kind == "enum":
        if value not in shape.values:
            yield f"{path}: {value!r} is none of {sorted(map(str, shape.values))}"
    elif type(value).__name__ not in _ACCEPTED.get(shape.kind, (shape.kind,)):
        yield f"{path}: {value!r} is not of the type {shape.kind}"


def _problems_of_members(value, shape, path):
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no object"
        return
    for name, member in value.items():
        if name not in shape.members or shape.members[name].is_read_only:
            yield f"{path}.{name}: no property that can be set; there are {', '.join(shape.members)}"
        else:
            yield from problems(member, shape.members[name], f"{path}.{name}")
    for name, member in shape.members.items():
        if member.is_required and not member.is_read_only and name not in value:
            yield f"{path}.{name}: missing"


class Expression(str):
    """A value that is known at the deployment only."""

    __slots__ = ()
