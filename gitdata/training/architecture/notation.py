"""Notation: layers as a model file writes them, with blocks and repetitions written out.

A layer is a name (`"relu"`) or a table with its kind and its options (`{ conv = 32, kernel = 3 }`). `{ repeat = 3,
layers = [...] }` stands for its layers three times; `{ block = "name", width = 32 }` for those of a block in
`[network.blocks]`, in which `"$width"` is a parameter. What is read is plain layers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gitdata.training.architecture.layers import ACTIVATIONS, KINDS, MOST_LAYERS, Activate, Dense, Heads, Layer
from gitdata.training.mistakes import nearest, said

Values = Mapping[str, Any]

_DEEPEST = 16  # layers within layers
_PLAIN = {kind for kind, layer in KINDS.items() if all(not f.is_required() for f in layer.model_fields.values())}
_SPECIAL = ("repeat", "block")


class Block(BaseModel):
    """[network.blocks.NAME]: layers with a name, and `parameters` that whoever uses them gives values to."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    parameters: list[str] = []
    layers: list[Any]


def read(value: Any, blocks: Mapping[str, Block], *, packed: bool = False) -> tuple[Layer, ...]:
    """The layers of a network, `packed` as packages hold it. Raises ValueError naming the layer and what is wrong."""
    if not isinstance(value, list) or not value:
        raise ValueError('a list of layers is wanted, as in layers = [{ dense = 64 }, "relu", { dense = "outputs" }]')
    reader = _Reader(blocks, packed=packed)
    layers = tuple(reader.layers(value, {}, "layer", 0))
    _require_outputs(layers)
    return layers


class _Reader:
    """Reads one network; `count`: the layers so far, of which there may not be too many; `within`: blocks being read.

    `packed`: as packages hold it, with the layers of others as parts.
    """

    def __init__(self, blocks: Mapping[str, Block], *, packed: bool) -> None:
        self.blocks, self.packed = blocks, packed
        self.count = 0
        self.within: list[str] = []

    def layers(self, value: Any, parameters: Values, where: str, depth: int) -> Iterator[Layer]:
        if not isinstance(value, list) or not value:
            raise ValueError(f"{where}: a list of layers is wanted, not {value!r:.60}")
        if depth > _DEEPEST:
            raise ValueError(f"{where:.40} …: layers stand within layers more than {_DEEPEST} times")
        for place, item in enumerate(value, 1):
            yield from self.layer(item, parameters, f"{where} {place}", depth)

    def layer(self, item: Any, parameters: Values, where: str, depth: int) -> Iterator[Layer]:
        item = _filled_in(item, parameters, where)
        kind = _kind_of(item, where)
        if kind == "repeat":
            yield from self._repeated(item, parameters, where, depth)
        elif kind == "block":
            yield from self._block(item, where, depth)
        else:
            self.count += 1
            if self.count > MOST_LAYERS:
                raise ValueError(f"there are more than {MOST_LAYERS} layers")
            yield self._plain(kind, item, parameters, where, depth)

    def _repeated(self, item: dict[str, Any], parameters: Values, where: str, depth: int) -> Iterator[Layer]:
        _only(item, ("repeat", "layers"), where)
        times = _whole(item["repeat"], where, "repeat")
        for _ in range(times):
            yield from self.layers(item.get("layers"), parameters, where, depth + 1)

    def _block(self, item: dict[str, Any], where: str, depth: int) -> Iterator[Layer]:
        name = item["block"]
        if not isinstance(name, str) or name not in self.blocks:
            known = ", ".join(sorted(self.blocks)) or "none"
            raise ValueError(
                f"{where}: there is no block {name!r:.60}; blocks: {known}{nearest(str(name), self.blocks)}"
            )
        block = self.blocks[name]
        _only(item, ("block", "repeat", *block.parameters), f"{where} (block {name})")
        if missing := [parameter for parameter in block.parameters if parameter not in item]:
            raise ValueError(f"{where}: the block '{name}' needs a value for '{missing[0]}'")
        if name in self.within:
            raise ValueError(f"{where}: the block '{name}' stands within itself")
        self.within.append(name)
        for _ in range(_whole(item.get("repeat", 1), where, "repeat")):
            yield from self.layers(block.layers, item, f"{where} (block {name})", depth + 1)
        self.within.pop()

    def _plain(self, kind: str, item: Any, parameters: Values, where: str, depth: int) -> Layer:
        if isinstance(item, str):
            return KINDS[kind].model_validate({}) if kind in KINDS else Activate.model_validate({"activation": kind})
        where = f"{where} ({kind})"
        if kind == "part" and not self.packed:
            raise ValueError(f'{where}: only packages hold parts; borrow them, as in {{ model = "lattice@3" }}')
        layer = KINDS[kind]
        _only(item, layer.model_fields, where)
        values = {key: self._inner(kind, key, value, parameters, where, depth) for key, value in item.items()}
        try:
            return layer.model_validate(values)
        except ValidationError as error:
            raise ValueError(f"{where}: {_sentence(error)}") from error

    def _inner(self, kind: str, key: str, value: Any, parameters: Values, where: str, depth: int) -> Any:
        """The value of an option; layers within it are read too."""
        if key == kind and kind in ("residual", "part"):
            return tuple(self.layers(value, parameters, where, depth + 1))
        if key == kind and kind in ("concat", "add", "multiply", "split"):
            branches = enumerate(value if isinstance(value, list) else [value], 1)
            return tuple(tuple(self.layers(v, parameters, f"{where} branch {n}", depth + 1)) for n, v in branches)
        if key == kind == "heads" and isinstance(value, dict):
            named = value.items()
            return {n: tuple(self.layers(v, parameters, f"{where} '{n}'", depth + 1)) for n, v in named}
        return value


def _kind_of(item: Any, where: str) -> str:
    if isinstance(item, str):
        if item in ACTIVATIONS or item in _PLAIN:
            return item
        if item in KINDS or item in _SPECIAL:
            raise ValueError(f"{where}: '{item}' needs a value, as in {{ {item} = … }}")
        raise ValueError(f"{where}: there is no layer {item!r:.60}{nearest(item, (*ACTIVATIONS, *KINDS))}")
    if not isinstance(item, dict):
        raise ValueError(f"{where}: a layer is a name or a table, not {item!r:.60}")
    for special in _SPECIAL[::-1]:  # a block may be repeated too
        if special in item:
            return special
    kinds = [key for key in item if key in KINDS]
    if len(kinds) != 1:
        if kinds:
            raise ValueError(f"{where}: it is both {' and '.join(kinds)}; each layer has a table of its own")
        first = next(iter(item), "")
        raise ValueError(f"{where}: there is no layer {first!r:.60}{nearest(first, (*KINDS, *_SPECIAL))}")
    return str(kinds[0])


def _filled_in(item: Any, parameters: Values, where: str) -> Any:
    """An item with the values of parameters in place of `"$name"`; layers within it get them when they are read."""
    if isinstance(item, str) and item.startswith("$"):
        if item[1:] not in parameters:
            known = ", ".join(f"${name}" for name in parameters if name not in ("block", "repeat")) or "none"
            raise ValueError(f"{where}: '{item}' is no parameter here; parameters: {known}")
        return parameters[item[1:]]
    if isinstance(item, list) and all(isinstance(value, str | int) for value in item):
        return [_filled_in(value, parameters, where) for value in item]
    if isinstance(item, dict):
        return {key: value if key == "layers" else _filled_in(value, parameters, where) for key, value in item.items()}
    return item


def _only(item: Mapping[str, Any], known: Collection[str], where: str) -> None:
    if unknown := [key for key in item if key not in known]:
        raise ValueError(f"{where}: '{unknown[0]}' is unknown; it takes {', '.join(known)}{nearest(unknown[0], known)}")


def _whole(value: Any, where: str, name: str) -> int:
    if type(value) is not int or not 0 < value <= MOST_LAYERS:
        raise ValueError(f"{where}: '{name}' is {value!r:.60}; a whole number from 1 to {MOST_LAYERS} is wanted")
    return value


def _sentence(error: ValidationError) -> str:
    problem = error.errors()[0]
    return said(".".join(str(part) for part in problem["loc"][:1]), problem)


def _require_outputs(layers: tuple[Layer, ...]) -> None:
    """Whether the last layer with weights is as wide as the outputs, and no other is, each head by itself."""
    last = next((layer for layer in reversed(layers) if layer.has_weights or isinstance(layer, Heads)), None)
    if isinstance(last, Heads):
        for head in last.heads.values():
            _require_outputs(head)
        others = [layer for layer in layers if layer is not last]
    elif isinstance(last, Dense) and last.dense == "outputs":
        others = [layer for layer in layers if layer is not last]
    else:
        raise ValueError('the last dense layer must be { dense = "outputs" }')
    if any(
        isinstance(layer, Heads) or (isinstance(layer, Dense) and layer.dense == "outputs")
        for layer in every_layer(others)
    ):
        raise ValueError('only the last dense layer is { dense = "outputs" }')


def every_layer(layers: Any) -> Iterator[Layer]:
    """Layers with all that stand within them."""
    for layer in layers:
        yield layer
        for name in type(layer).model_fields:
            value = getattr(layer, name)
            groups = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()
            for group in groups:
                if isinstance(group, Layer):
                    yield from every_layer((group,))
                elif isinstance(group, tuple):
                    yield from every_layer(part for part in group if isinstance(part, Layer))
