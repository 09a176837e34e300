"""Declaration: a model file, checked and with defaults filled in.

Two digests follow from it: *restore*, over what a checkpoint depends on ([data] without a pinned version, and
[network]), and the *declaration* digest over all but [deployment]. Both are over the values that differ from their
defaults: writing a default out, another order of keys, or an option that a later version brings changes nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, field_validator, model_validator

from gitdata.canonical import digest
from gitdata.errors import Mendable
from gitdata.training.architecture import notation
from gitdata.training.architecture.layers import Layer
from gitdata.training.architecture.notation import Block

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

Method = Literal["finetune", "rehearse", "union"]
METHODS: tuple[Method, ...] = get_args(Method)
Transform = Literal["log", "log10", "log1p", "sqrt", "none"]
Scaling = Literal["standard", "minmax", "robust", "channels", "image", "none"]
Encoding = Literal["one-hot", "codes"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Data(_Table):
    """[data]: the dataset (its version pinned or not), the fields, and how they become numbers.

    `transform`, `scaling` and `encoding` go by field, or for all `inputs` or `outputs`; `categories` names fields of
    whole numbers that stand for categories, as text always does.
    """

    dataset: Annotated[str, Field(pattern=_NAME)]
    version: str | None = None
    inputs: tuple[str, ...] | None = None
    outputs: Annotated[tuple[str, ...], Field(min_length=1)]
    transform: dict[str, Transform] = {}
    scaling: dict[str, Scaling] = {}
    encoding: dict[str, Encoding] = {}
    categories: tuple[str, ...] = ()

    @field_validator("inputs", "outputs", "categories", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="before")
    @classmethod
    def _unpin(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("dataset"), str) and "version" not in value:
            dataset, _, version = value["dataset"].partition("@")
            return value | {"dataset": dataset, "version": version or None}
        return value

    @model_validator(mode="after")
    def _disjoint(self) -> Data:
        if both := sorted(set(self.inputs or ()) & set(self.outputs)):
            raise ValueError(f"'{both[0]}' is both input and output")
        return self

    def transform_of(self, name: str) -> Transform:
        """The transform of a field: its own, else that of all inputs or outputs."""
        return self.transform.get(name, self.transform.get(self.role_of(name), "none"))

    def scaling_of(self, name: str) -> Scaling:
        """The scaling of a field: its own, else that of all inputs or outputs."""
        return self.scaling.get(name, self.scaling.get(self.role_of(name), "standard"))

    def encoding_of(self, name: str) -> Encoding:
        """How the categories of a field are coded."""
        return self.encoding.get(name, self.encoding.get(self.role_of(name), "one-hot"))

    def is_categorical(self, name: str) -> bool:
        """Whether an input is declared to be categories, whatever its dtype."""
        return name in self.categories or name in self.encoding

    def role_of(self, name: str) -> Literal["inputs", "outputs"]:
        """`inputs` or `outputs`."""
        return "outputs" if name in self.outputs else "inputs"


class Network(_Table):
    """[network]: layers, the last one as wide as the outputs; blocks of layers with a name are written out."""

    layers: Annotated[tuple[SerializeAsAny[Layer], ...], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "layers" not in value:
            return value
        blocks = value.get("blocks", {})
        if not isinstance(blocks, dict):
            raise ValueError("blocks are tables: [network.blocks.NAME]")
        found = {name: Block.model_validate(block) for name, block in blocks.items()}
        rest = {key: inner for key, inner in value.items() if key != "blocks"}
        return rest | {"layers": notation.read(value["layers"], found)}

    def written(self) -> dict[str, Any]:
        """As a model file has it, blocks written out."""
        return {"layers": [layer.written() for layer in self.layers]}


class Optimizer(_Table):
    """Adam (Kingma & Ba 2015) or stochastic gradient descent with momentum."""

    name: Literal["adam", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 1e-3
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    b1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    b2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-8


class Schedule(_Table):
    """How the learning rate goes: constant; cosine down to `final` × it over the run; × `rate` every `steps` steps."""

    name: Literal["constant", "cosine", "exponential"] = "constant"
    final: Annotated[float, Field(gt=0, le=1)] = 0.01
    rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    steps: Annotated[int, Field(gt=0)] = 1000


class Training(_Table):
    """[training]: the budget, the loss, and how it is minimised."""

    epochs: Annotated[int, Field(gt=0, le=1_000_000)] = 200
    batch_size: Annotated[int, Field(gt=0, le=1_000_000)] = 32
    loss: Literal["mae", "mse", "huber", "cross_entropy"] = "mse"
    metrics: Annotated[tuple[Literal["mae", "mse", "rmse", "r2", "accuracy"], ...], Field(min_length=1)] = ("mae",)
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()

    @field_validator("metrics", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value


class Retraining(_Table):
    """[retraining]: `automatic` goes on as declared in [training]; `manual` has settings of its own."""

    type: Literal["automatic", "manual"] = "automatic"
    method: tuple[Method, ...] = METHODS
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    epochs: Annotated[int, Field(gt=0, le=1_000_000)] | None = None

    @field_validator("method", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _consistent(self) -> Retraining:
        if not self.method:
            raise ValueError("'method' names no method")
        if self.type == "automatic" and (self.optimizer or self.schedule or self.epochs):
            raise ValueError('settings of its own need type = "manual"')
        return self


class Deployment(_Table):
    """[deployment]: where the champion moves, on whose word, and what counts as no worse."""

    branch: Annotated[str, Field(min_length=1)] = "main"
    policy: Literal["automatic", "confirm"] = "automatic"
    metric: Literal["mae", "mse", "rmse", "accuracy", "cross_entropy"] = "mae"
    tolerance: Annotated[float, Field(ge=0)] = 0.02
    undecided: Literal["accept", "hold"] = "accept"


class Declaration(_Table):
    """A declared model; `name` is that of its file."""

    name: str
    data: Data
    network: Network
    training: Training = Training()
    retraining: Retraining = Retraining()
    deployment: Deployment = Deployment()

    @model_validator(mode="after")
    def _loss_fits(self) -> Declaration:
        classifies = self.training.loss == "cross_entropy"
        if classifies and len(self.data.outputs) != 1:
            raise ValueError("loss cross_entropy takes exactly one output")
        wanted = ("accuracy", "cross_entropy") if classifies else ("mae", "mse", "rmse")
        if "metric" in self.deployment.model_fields_set and self.deployment.metric not in wanted:
            raise ValueError(f"deployment.metric {self.deployment.metric} does not go with loss {self.training.loss}")
        return self

    @property
    def classifies(self) -> bool:
        return self.training.loss == "cross_entropy"

    @property
    def metric(self) -> str:
        """What the gate compares; a classifier that names none is compared by cross-entropy."""
        named = "metric" in self.deployment.model_fields_set or not self.classifies
        return self.deployment.metric if named else "cross_entropy"

    @property
    def restore_digest(self) -> str:
        data = self.data.model_dump(exclude={"version"}, exclude_defaults=True, mode="json")
        return digest({"data": data, "network": self.network.written()})

    @property
    def digest(self) -> str:
        tables = self.model_dump(exclude={"deployment", "name", "network"}, exclude_defaults=True, mode="json")
        return digest(tables | {"network": self.network.written()})


def parse(text: str, name: str) -> Declaration:
    """The declaration that a model file holds. Raises Mendable naming file, key and what is wrong with it."""
    where = f"models/{name}.toml"
    if not re.fullmatch(_NAME, name):
        raise Mendable(f"'{name}' is no name for a model.", "Use letters, digits, '.', '_' and '-'.")
    try:
        tables = _floats(tomllib.loads(text))
    except RecursionError as error:
        raise Mendable(f"{where} is nested too deeply.", "A model file has tables in tables, no more.") from error
    except (ValueError, OverflowError) as error:  # also a number with more digits than Python reads
        raise Mendable(f"{where} is not valid TOML: {error}.", "Mend that line.") from error
    if "name" in tables:
        raise Mendable(f"{where}: 'name' is not a table.", "A model is called as its file is.")
    try:
        return Declaration.model_validate({**tables, "name": name})
    except ValidationError as error:
        raise Mendable("\n".join(_sentences(where, error)), "See docs/model-file.md.") from error


def check_methods(methods: Sequence[str]) -> None:
    """Raises Mendable naming a method that does not exist."""
    for method in methods:
        if method not in METHODS:
            raise Mendable(f"There is no method '{method}'.", f"Methods: {', '.join(METHODS)}.")


def _floats(value: Any) -> Any:
    """TOML tells 1 from 1.0; a person who writes `tolerance = 0` means 0.0."""
    floats = ("learning_rate", "momentum", "b1", "b2", "eps", "final", "rate", "tolerance")
    if isinstance(value, dict):
        return {
            key: float(inner) if key in floats and type(inner) is int else _floats(inner)
            for key, inner in value.items()
        }
    return [_floats(item) for item in value] if isinstance(value, list) else value


def _sentences(where: str, error: ValidationError) -> list[str]:
    seen: dict[str, str] = {}
    for problem in error.errors():
        keys = [str(part) for part in problem["loc"]]
        inner = ("literal[", "function-", "constrained-")
        path = ".".join(key for key in keys if key[:1].islower() and not key.startswith(inner))
        if not any(f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.") for other in seen):
            seen[path] = f"{where}: {_sentence(path, keys, problem)}"
    return list(seen.values())


def _sentence(path: str, keys: list[str], problem: Any) -> str:
    kind, value = problem["type"], problem.get("input")
    if kind == "extra_forbidden":
        return f"'{path}' is unknown{_nearest(keys[-1], _known(keys[:-1]))}."
    if kind == "missing":
        return f"'{path}' is missing."
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", str(problem["ctx"]["expected"]))
        return f"'{path}' is {value!r:.60}; it must be one of {', '.join(names)}{_nearest(str(value), names)}."
    message = str(problem["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if isinstance(value, dict):  # a whole table says nothing
        return f"'{path}': {message}." if path else f"{message}."
    return f"'{path}': {message} (it is {value!r:.60})." if path else f"{message}."


def _nearest(name: str, candidates: Sequence[str]) -> str:
    near = get_close_matches(name, candidates, 1)
    return f"; is '{near[0]}' meant?" if near else ""


def _known(path: Sequence[str]) -> list[str]:
    """The keys of the table that a path leads to."""
    tables: dict[str, type[BaseModel]] = {
        "data": Data, "network": Network, "training": Training, "retraining": Retraining, "deployment": Deployment,
        "optimizer": Optimizer, "schedule": Schedule,
    }  # fmt: skip
    names = [key for key in path if key in tables]
    model = tables[names[-1]] if names else Declaration
    return [key for key in model.model_fields if key != "name"]
