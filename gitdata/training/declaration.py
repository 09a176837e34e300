"""Declaration: a model file, checked and with defaults filled in.

Two digests follow from it: *restore*, over what a checkpoint depends on ([data] without a pinned version, and
[network]), and the *declaration* digest over all but [deployment]. Both are over the values that differ from their
defaults: writing a default out, another order of keys, or an option that a later version brings changes nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SerializeAsAny, ValidationError, field_validator, model_validator

from gitdata.canonical import digest
from gitdata.errors import Mendable
from gitdata.training import mistakes
from gitdata.training.architecture import borrowed, notation
from gitdata.training.architecture.layers import Layer
from gitdata.training.architecture.notation import Block
from gitdata.training.architecture.plan import Plan
from gitdata.training.places import place
from gitdata.training.retraining import METHODS, Method, Retraining
from gitdata.training.settings import (
    Deployment,
    EarlyStopping,
    Kind,
    Loss,
    Metric,
    Optimizer,
    Schedule,
    Table,
    Training,
)
from gitdata.training.variants import merged, texts_of, with_sources

__all__ = [
    "METHODS", "Data", "Declaration", "Deployment", "Loss", "Method", "Network", "Optimizer", "Retraining", "Schedule",
    "Training", "methods_named", "parse",
]  # fmt: skip

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

_CHOICE = re.compile(  # what pydantic puts into a path where there are several ways to read a value
    r"(?:One|Each|str|int|float)$|(?:literal|tuple|dict|list)\[|constrained-|function-"
)

FIRST_LADDER = ["finetune", "rehearse", "union"]  # the default before `auto`; in digests it is left out ever since

Transform = Literal["log", "log10", "log1p", "sqrt", "none"]
Scaling = Literal["standard", "minmax", "robust", "channels", "image", "none"]
Encoding = Literal["one-hot", "codes"]


class Data(Table):
    """[data]: the dataset (its version pinned or not), the fields, and how they become numbers.

    `transform`, `scaling` and `encoding` go by field, or for all `inputs` or `outputs`; `categories` names fields of
    whole numbers that stand for categories, as text always does.
    """

    dataset: Annotated[str, Field(pattern=_NAME)]
    version: str | None = None
    inputs: tuple[str, ...] | None = None
    outputs: Annotated[tuple[str, ...], Field(min_length=1)]
    transform: dict[str, Transform] = {}  # noqa: RUF012 (pydantic copies it)
    scaling: dict[str, Scaling] = {}  # noqa: RUF012
    encoding: dict[str, Encoding] = {}  # noqa: RUF012
    categories: tuple[str, ...] = ()

    @field_validator("inputs", "outputs", "categories", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("inputs", "outputs", "categories")
    @classmethod
    def _each_once(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if twice := [name for name, count in Counter(names or ()).items() if count > 1]:
            raise ValueError(f"it names '{twice[0]}' twice; once is enough")
        return names

    @model_validator(mode="before")
    @classmethod
    def _unpin(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("dataset"), str) and "version" not in value:
            dataset, _, version = value["dataset"].partition("@")
            return value | {"dataset": dataset, "version": version} if version else value
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


class _Blocks(Table):
    """[network.blocks]: what pydantic finds in one then names it."""

    blocks: dict[str, Block]


class Network(Table):
    """[network]: layers, the last one as wide as the outputs; blocks of layers with a name are written out."""

    layers: Annotated[tuple[SerializeAsAny[Layer], ...], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "layers" not in value:
            return value
        found = _Blocks.model_validate({"blocks": value.get("blocks", {})}).blocks
        rest = {key: inner for key, inner in value.items() if key != "blocks"}
        return rest | {"layers": notation.read(value["layers"], found)}

    @property
    def borrows(self) -> tuple[str, ...]:
        """The versions of models that it borrows layers of, as in `lattice@3`."""
        return borrowed.borrowed(self.layers)

    def with_parts(self, lenders: Mapping[str, Plan]) -> Network:
        """The network with layers in place of what it borrows. Raises Misfit where they are not there."""
        return self.model_copy(update={"layers": borrowed.resolved(self.layers, lenders)}) if self.borrows else self

    def written(self) -> dict[str, Any]:
        """As a model file has it, blocks written out."""
        return {"layers": [layer.written() for layer in self.layers]}


class Declaration(Table):
    """A declared model; `name` is that of its file."""

    name: str
    data: Data
    network: Network
    training: Training = Training()
    retraining: Retraining = Retraining()
    deployment: Deployment = Deployment()

    @model_validator(mode="after")
    def _losses_fit(self) -> Declaration:
        losses, outputs = self.training.loss, self.data.outputs
        if isinstance(losses, dict) and losses.keys() != set(outputs):
            if unknown := [name for name in losses if name not in outputs]:
                near = mistakes.nearest(unknown[0], outputs)
                raise ValueError(f"training.loss gives '{unknown[0]}' a loss, which is no output{near}")
            without = next(name for name in outputs if name not in losses)
            raise ValueError(f"training.loss gives the output '{without}' no loss")
        wanted = {"numbers": ("mae", "mse", "rmse"), "classes": ("accuracy", "cross_entropy")}
        fitting = [metric for kind, metrics in wanted.items() if kind in self.kinds for metric in metrics]
        if len(self.kinds) > 1:
            fitting.remove("rmse")  # the root of a mean in which probabilities are is no error of anything
        if "metric" in self.deployment.model_fields_set and self.deployment.metric not in fitting:
            raise ValueError(
                f"deployment.metric {self.deployment.metric} does not go with loss "
                f"{' and '.join(sorted({self.training.loss_of(output).name for output in outputs}))}"
            )
        return self

    @model_validator(mode="after")
    def _conditions_fit(self) -> Declaration:
        for condition in self.deployment.required:
            if condition.output is not None and condition.output not in self.data.outputs:
                near = mistakes.nearest(condition.output, self.data.outputs)
                raise ValueError(
                    f"deployment.conditions: '{condition.text}' is of '{condition.output}', which is no output{near}"
                )
            kind = Metric.called(condition.metric).kind
            if kind not in (self.kinds if condition.output is None else {_sort(self.kind_of(condition.output))}):
                of = f"'{condition.output}' is not" if condition.output else "no output is"
                raise ValueError(f"deployment.conditions: '{condition.text}' has a metric of {kind}, and {of}")
        return self

    def kind_of(self, output: str) -> Kind:
        """What an output is: numbers, classes, or one of two classes."""
        return self.training.loss_of(output).kind

    @property
    def kinds(self) -> frozenset[str]:
        """What the outputs are; one of two classes is of classes."""
        return frozenset(_sort(self.kind_of(output)) for output in self.data.outputs)

    @property
    def metric(self) -> str:
        """What the gate compares; a classifier that names none is compared by cross-entropy."""
        named = "metric" in self.deployment.model_fields_set or "numbers" in self.kinds
        return self.deployment.metric if named else "cross_entropy"

    def metric_of(self, output: str) -> str:
        """What the gate compares of an output: where the one declared does not go with it, its kind's usual one."""
        if self.kind_of(output) == "numbers":
            return self.metric if self.metric in ("mae", "mse", "rmse") else "mae"
        return self.metric if self.metric in ("accuracy", "cross_entropy") else "cross_entropy"

    @property
    def restore_digest(self) -> str:
        data = self.data.model_dump(exclude={"version"}, exclude_defaults=True, mode="json")
        return digest({"data": data, "network": self.network.written()})

    @property
    def digest(self) -> str:
        tables = self.model_dump(exclude={"deployment", "name", "network"}, exclude_defaults=True, mode="json")
        methods = [method.written() for method in self.retraining.method]
        retraining = {key: value for key, value in tables.pop("retraining", {}).items() if key != "method"}
        retraining |= {} if methods == FIRST_LADDER else {"method": methods}
        tables |= {"retraining": retraining} if retraining else {}
        return digest(tables | {"network": self.network.written()})


def _sort(kind: Kind) -> str:
    """Of which sort the metrics of an output are: one of two classes is of classes."""
    return "numbers" if kind == "numbers" else "classes"


def parse(text: str, name: str) -> Declaration:
    """The declaration that a model file holds. Raises Mendable naming file, key and what is wrong with it.

    `text`: that of the file and of those that it extends (`variants.joined`).
    """
    where = f"models/{name}.toml"
    if not re.fullmatch(_NAME, name):
        raise Mendable(f"'{name}' is no name for a model.", "Use letters, digits, '.', '_' and '-'.")
    tables = merged(name, text, _tables)
    if "network" in tables:
        tables["network"] = with_sources(tables["network"], text, where)
    if "name" in tables:
        raise Mendable(f"{where}: 'name' is not a table.", "A model is called as its file is.")
    try:
        return Declaration.model_validate({**tables, "name": name})
    except ValidationError as error:
        raise Mendable("\n".join(_sentences(texts_of(name, text), error)), "See docs/model-file.md.") from error


def _tables(text: str, name: str) -> dict[str, Any]:
    where = f"models/{name}.toml"
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise Mendable(f"{where} is nested too deeply.", "A model file has tables in tables, no more.") from error
    except (ValueError, OverflowError) as error:  # also a number with more digits than Python reads
        raise Mendable(f"{where} is not valid TOML: {error}.", "Mend that line.") from error


def methods_named(names: Sequence[str | Method], retraining: Retraining) -> tuple[Method, ...]:
    """Methods by name, with the options that are declared for them; a method stands for itself.

    Raises Mendable where one does not exist.
    """
    declared = {method.name: method for method in retraining.method}
    for name in names:
        if isinstance(name, str) and name not in METHODS:
            near = mistakes.nearest(name, METHODS)
            raise Mendable(f"There is no method '{name}'{near}.", f"Methods: {', '.join(METHODS)}.")
    return tuple(
        name if isinstance(name, Method) else declared.get(name) or Method(name=name)  # type: ignore[arg-type, call-overload]
        for name in names
    )


def _sentences(texts: Mapping[str, str], error: ValidationError) -> list[str]:
    seen: dict[str, str] = {}
    for problem in error.errors():
        keys = [part for part in problem["loc"] if isinstance(part, str) and not _CHOICE.match(part)]
        path = ".".join(keys)
        if not any(f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.") for other in seen):
            file, line = place(texts, keys)
            where = f"models/{file}.toml" + (f", line {line}" if line else "")
            unknown = problem["type"] == "extra_forbidden"
            sentence = f"'{path}' is unknown{_meant(keys)}" if unknown else mistakes.said(path, problem)
            seen[path] = f"{where}: {mistakes.ended(sentence)}"
    return list(seen.values())


def _meant(keys: Sequence[str]) -> str:
    """What may be meant by the last of some keys: one of the same table, else of those within it."""
    tables: dict[str, type[BaseModel]] = {
        "data": Data, "network": Network, "blocks": Block, "training": Training, "retraining": Retraining,
        "deployment": Deployment, "optimizer": Optimizer, "schedule": Schedule, "loss": Loss, "metrics": Metric,
        "early_stopping": EarlyStopping,
    }  # fmt: skip
    *path, name = keys
    model = next((tables[key] for key in reversed(path) if key in tables), Declaration)
    within = [key for key in model.model_fields if key in tables]
    own = [key for key in model.model_fields if model is not Declaration or key != "name"]
    inner = {key: f"{table}.{key}" for table in reversed(within) for key in tables[table].model_fields if key != "name"}
    found = mistakes.near(name, own) or inner.get(mistakes.near(name, inner) or "")
    return f"; is '{found}' meant?" if found else ""
