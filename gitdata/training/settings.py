"""Settings: the tables that say how a network is trained, retrained and deployed.

A table with a `name` takes the options of what it names and no others; each has a default of its own there. What equals
its default is left out where a table is written, so that options of later versions change no digest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from gitdata.training import mistakes
from gitdata.training.conditions import Condition
from gitdata.training.conditions import read as read_condition

Kind = Literal["numbers", "classes", "binary"]

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Epochs = Annotated[int, Field(gt=0, le=1_000_000)]
Steps = Annotated[int, Field(gt=0)]
Margin = Annotated[  # 0 is a number, though Python says that it equals False
    Annotated[float, Field(ge=0)] | Literal[False],
    BeforeValidator(lambda value: float(value) if type(value) is int else value),
]


_NO_BRANCH = re.compile(  # as `git check-ref-format --branch` has it
    r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/]|[/.]$|(?:^|/)\.|\.lock(?:/|$)"
)


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Named(Table):
    """A table whose `name` says which options it takes, and with which defaults; a plain name is a table too."""

    OPTIONS: ClassVar[Mapping[str, Mapping[str, Any]]]
    EVERY: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def options_of(cls, name: str) -> dict[str, Any]:
        """The options that go with a name, and their defaults."""
        return {**cls.EVERY, **cls.OPTIONS[name]}

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        name = value.get("name", cls.model_fields["name"].default) if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in cls.OPTIONS:
            return value
        options = cls.options_of(name)
        for key in value:
            if key in cls.model_fields and key != "name" and key not in options:
                raise ValueError(f"'{key}' is no option of {name}; it takes {', '.join(options) or 'none'}")
        return options | value

    def differing(self) -> dict[str, Any]:
        """The options that are not at their default."""
        options = self.options_of(getattr(self, "name"))  # noqa: B009
        return {key: getattr(self, key) for key, default in options.items() if getattr(self, key) != default}

    @model_serializer
    def written(self) -> Any:
        """The shortest table that says the same; a name that is the default is left out."""
        name = getattr(self, "name")  # noqa: B009
        return ({} if name == type(self).model_fields["name"].default else {"name": name}) | self.differing()


class Optimizer(Named):
    """How a gradient becomes a step: an optimiser of Optax, weight decay apart from the loss, and clipping before it.

    `weight_decay` (decoupled: Loshchilov & Hutter 2019) leaves biases and scales of norms alone, unless `decay_all`.
    `clip_value` bounds each number of the gradient, then `clip_norm` its Euclidean norm over all weights.
    """

    OPTIONS = {
        "adam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
        "adamw": {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 1e-4},
        "nadam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
        "adabelief": {"b1": 0.9, "b2": 0.999, "eps": 1e-16},
        "lamb": {"b1": 0.9, "b2": 0.999, "eps": 1e-6},
        "lion": {"learning_rate": 1e-4, "b1": 0.9, "b2": 0.99, "weight_decay": 1e-3},
        "sgd": {"momentum": 0.0, "nesterov": False},
        "rmsprop": {"decay": 0.9, "eps": 1e-8, "momentum": 0.0, "nesterov": False},
        "adagrad": {"eps": 1e-7},
        "adadelta": {"learning_rate": 1.0, "decay": 0.9, "eps": 1e-6},
    }
    EVERY = {"learning_rate": 1e-3, "weight_decay": 0.0, "decay_all": False, "clip_norm": None, "clip_value": None}

    name: Literal[
        "adam", "adamw", "nadam", "adabelief", "lamb", "lion", "sgd", "rmsprop", "adagrad", "adadelta"
    ] = "adam"  # fmt: skip
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 1e-3
    momentum: Share = 0.0
    nesterov: bool = False
    b1: Share = 0.9
    b2: Share = 0.999
    decay: Share = 0.9
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0, le=100)] = 0.0
    decay_all: bool = False
    clip_norm: Positive | None = None
    clip_value: Positive | None = None

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Schedule(Named):
    """How the learning rate goes on from the one declared, the *peak*; it does not fall below `final` × the peak.

    With a horizon, anew in each run and over all of it: `cosine`, `linear` and `polynomial` (of a `power`) fall;
    `one_cycle` rises from `start` × the peak over a share `rise` of the run, then falls (Smith & Topin 2019); `wsd`
    stays at the peak, and falls evenly over a share `decay` of the run, its last one (Hu et al. 2024).
    By the steps since the first training: `exponential` × `rate` every `steps`, smoothly; `step` the same at once;
    `piecewise` × `rate` at each of `boundaries`.
    `plateau`: × `factor` whenever the validation loss has not fallen by more than `min_delta` for `patience` epochs.
    `warmup`: so many steps, or such a share of a run, in which the rate rises evenly first.
    """

    OPTIONS = {
        "constant": {},
        "cosine": {"final": 0.01},
        "linear": {"final": 0.01},
        "polynomial": {"final": 0.01, "power": 2.0},
        "one_cycle": {"final": 0.01, "rise": 0.3, "start": 0.04},
        "wsd": {"final": 0.01, "decay": 0.5},
        "exponential": {"final": 0.01, "rate": 0.5, "steps": 1000},
        "step": {"final": 0.01, "rate": 0.5, "steps": 1000},
        "piecewise": {"final": 0.01, "rate": 0.5, "boundaries": ()},
        "plateau": {"final": 0.01, "factor": 0.5, "patience": 5, "min_delta": 0.0},
    }
    EVERY = {"warmup": 0}

    name: Literal[
        "constant", "cosine", "linear", "polynomial", "one_cycle", "wsd", "exponential", "step", "piecewise", "plateau"
    ] = "constant"  # fmt: skip
    final: Annotated[float, Field(gt=0, le=1)] = 0.01
    rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    steps: Steps = 1000
    power: Positive = 2.0
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3
    start: Annotated[float, Field(gt=0, le=1)] = 0.04
    decay: Annotated[float, Field(gt=0, le=1)] = 0.5
    boundaries: tuple[Steps, ...] = ()
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Epochs = 5
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[int, Field(ge=0)] | Annotated[float, Field(gt=0, lt=1)] = 0

    @field_validator("boundaries", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _boundaries_rise(self) -> Self:
        if self.name == "piecewise" and (not self.boundaries or list(self.boundaries) != sorted(set(self.boundaries))):
            raise ValueError("'boundaries' are steps, each later than the one before")
        return self


class Loss(Named):
    """What is minimised for an output of numbers, of classes (cross_entropy), or of two classes as one logit.

    `weight`: how much it counts beside the losses of other outputs. `delta`: from where huber is linear. `quantile`:
    the one to be learned (Koenker & Bassett 1978). `label_smoothing` (Szegedy et al. 2016): what is spread over all
    classes. `class_weights`: by class, 1 where none is given, or "balanced": rows ÷ (classes × rows of the class).
    `ignore`: a class of which nothing is learned. `positive_weight`: how much rows of the second class count.
    """

    OPTIONS = {
        "mae": {},
        "mse": {},
        "huber": {"delta": 1.0},
        "log_cosh": {},
        "quantile": {"quantile": 0.5},
        "cross_entropy": {"label_smoothing": 0.0, "class_weights": None, "ignore": None},
        "binary_cross_entropy": {"label_smoothing": 0.0, "positive_weight": 1.0},
    }
    EVERY = {"weight": 1.0}

    name: Literal["mae", "mse", "huber", "log_cosh", "quantile", "cross_entropy", "binary_cross_entropy"] = "mse"
    weight: Positive = 1.0
    delta: Positive = 1.0
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    label_smoothing: Share = 0.0
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0)]] | None = None
    ignore: str | int | None = None
    positive_weight: Positive = 1.0

    @model_validator(mode="before")
    @classmethod
    def _other_names(cls, value: Any) -> Any:
        """l1 and l2 are other names of mae and mse."""
        also = {"l1": "mae", "l2": "mse"}
        if isinstance(value, str):
            return also.get(value, value)
        known = isinstance(value, dict) and isinstance(value.get("name"), str)
        return value | {"name": also.get(value["name"], value["name"])} if known else value

    @property
    def kind(self) -> Kind:
        """What an output is that has this loss."""
        return {"cross_entropy": "classes", "binary_cross_entropy": "binary"}.get(self.name, "numbers")  # type: ignore[return-value]

    @model_serializer
    def written(self) -> Any:
        """The name, with the options that differ from their defaults."""
        return {"name": self.name} | more if (more := self.differing()) else self.name


class Metric(Named):
    """What is reported of an output of numbers, or of one of classes."""

    OPTIONS = {
        name: ({"k": 5} if name == "top_k" else {})
        for name in ("mae", "mse", "rmse", "r2", "accuracy", "top_k", "f1", "auc", "cross_entropy")
    }

    name: Literal["mae", "mse", "rmse", "r2", "accuracy", "top_k", "f1", "auc", "cross_entropy"] = "mae"
    k: Annotated[int, Field(gt=0)] = 5

    @property
    def kind(self) -> Kind:
        return "numbers" if self.name in ("mae", "mse", "rmse", "r2") else "classes"

    @property
    def label(self) -> str:
        """How a report calls it."""
        return f"top_{self.k}" if self.name == "top_k" else self.name

    @classmethod
    def called(cls, label: str) -> Metric:
        """The metric that a report calls so. Raises ValueError with what may be meant."""
        top = re.fullmatch(r"top_([1-9]\d{0,8})", label)
        if top:
            return cls(name="top_k", k=int(top[1]))
        labels = [name if name != "top_k" else f"top_{cls().k}" for name in cls.OPTIONS]
        if label not in labels:
            raise ValueError(f"there is no metric '{label}'{mistakes.nearest(label, labels)}")
        return cls(name=label)  # type: ignore[arg-type]

    @model_serializer
    def written(self) -> Any:
        return {"name": self.name} | more if (more := self.differing()) else self.name


class EarlyStopping(Table):
    """A run ends when its validation loss has not fallen by more than `min_delta` for `patience` epochs."""

    patience: Epochs = 10
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    restore_best: bool = True


def _is_loss(value: Any) -> str:
    """Whether one loss holds for all outputs, or each output has its own."""
    by_output = isinstance(value, dict) and "name" not in value
    return "Each" if by_output else "One"


class Training(Table):
    """[training]: the budget, the loss, and how it is minimised."""

    epochs: Epochs = 200
    batch_size: Annotated[int, Field(gt=0, le=1_000_000)] = 32
    loss: Annotated[
        Annotated[Loss, Tag("One")] | Annotated[dict[str, Loss], Tag("Each"), Field(min_length=1)],
        Discriminator(_is_loss),
    ] = Loss()
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = (Metric(),)
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    early_stopping: EarlyStopping | None = None

    @field_validator("metrics", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    def loss_of(self, output: str) -> Loss:
        """The loss of an output."""
        return self.loss[output] if isinstance(self.loss, dict) else self.loss


class Deployment(Table):
    """[deployment]: where the champion moves, on whose word, what counts as no worse, and what is looked at apart.

    `slices`: fields by whose categories, or between whose bounds, metrics are reported too. `forgetting` and
    `slice_tolerance`: how much worse a version may be on the rows of what the champion had seen, and on a slice; False:
    that is not looked at. `conditions`: what it must reach whatever the champion does.
    """

    branch: Annotated[str, Field(min_length=1)] = "main"
    policy: Literal["automatic", "confirm"] = "automatic"
    metric: Literal["mae", "mse", "rmse", "accuracy", "cross_entropy"] = "mae"
    mode: Literal["non-inferiority", "superiority"] = "non-inferiority"
    tolerance: Annotated[float, Field(ge=0)] = 0.02
    undecided: Literal["accept", "hold"] = "accept"
    slices: dict[str, Literal["categories"] | tuple[float, ...]] = {}
    forgetting: Margin = 0.05
    slice_tolerance: Margin = 0.05
    conditions: tuple[str, ...] = ()

    @property
    def required(self) -> tuple[Condition, ...]:
        """The conditions, read."""
        return tuple(read_condition(text) for text in self.conditions)

    @field_validator("conditions", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("conditions")
    @classmethod
    def _conditions_are_clear(cls, texts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for condition in map(read_condition, texts):
            Metric.called(condition.metric)
            if condition.slice is not None and "slices" in info.data:
                _require_slice(condition.slice, info.data["slices"])
        return texts

    @field_validator("slices", mode="before")
    @classmethod
    def _bounds(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {field: tuple(bounds) if isinstance(bounds, list) else bounds for field, bounds in value.items()}

    @field_validator("branch")
    @classmethod
    def _is_branch(cls, value: str) -> str:
        if _NO_BRANCH.search(value) or value in ("@", "HEAD"):
            raise ValueError(f"'{value}' is no name that a branch can have")
        return value

    @model_validator(mode="after")
    def _bounds_rise(self) -> Self:
        for field, bounds in self.slices.items():
            if isinstance(bounds, tuple) and (not bounds or list(bounds) != sorted(set(bounds))):
                raise ValueError(f"the bounds of the slices by '{field}' are no rising numbers")
        return self


ANY_OTHER = "any other"  # category of a slice of what is rare


def labels_between(bounds: Sequence[float]) -> list[str]:
    """What slices are called, from below the first bound to above the last one."""
    texts = [f"{bound:g}" for bound in bounds]
    return [f"< {texts[0]}", *(f"from {low} to {high}" for low, high in pairwise(texts)), f"≥ {texts[-1]}"]


def _require_slice(label: str, slices: Mapping[str, Any]) -> None:
    """Raises ValueError where no declared slice is called so; which categories there are is not known here."""
    if any(bounds == "categories" and label.startswith(f"{field} = ") for field, bounds in slices.items()):
        return
    known = [f"{field} {text}" for field, own in slices.items() if own != "categories" for text in labels_between(own)]
    examples = known + [f"{field} = …" for field, bounds in slices.items() if bounds == "categories"]
    if label not in known:
        meant = mistakes.nearest(label, examples)
        there_are = f"; there are {', '.join(examples)}" if examples else "; declare slices"
        raise ValueError(f"no slice is called '{label}'{meant or there_are}")
