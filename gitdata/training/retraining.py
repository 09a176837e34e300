"""Retraining: the table that says how a model is brought up to date, and by which methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_serializer, model_validator

from gitdata.training.settings import EarlyStopping, Epochs, Named, Optimizer, Positive, Schedule, Share, Table


class Method(Named):
    """A way to bring a model up to date; each has a module in `gitdata/training/methods`, which says what it does.

    `budget`: gradient steps, as a share of those of a training anew on everything. `rate`: what the declared learning
    rate is multiplied by; `schedule`: its own. `shrink` and `perturb`: the start is so much of the restored weights
    and so much of fresh ones (Ash & Adams 2020). Where none of these is given, it is as `methods.strength` has it.
    `average`: over which share of the run, its last one, weights are averaged (Izmailov et al. 2018).
    `interpolate`: the result lies where validation rows are answered best
    between the restored weights and those that the run came to (Wortsman et al. 2022). `restart`: from the weights that
    a version ended with, or from those before its learning rate last fell.
    """

    OPTIONS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "auto": {},
        "keep": {},
        "finetune": {},
        "lwf": {"weight": 1.0},
        "l2sp": {"strength": 1.0},
        "ewc": {"strength": 1.0},
        "replay": {},
        "derpp": {"weight": 1.0},
        "distil": {"noise": 0.1},
        "rehearse": {"unseen": None},
        "union": {},
        "scratch": {},
    }
    EVERY: ClassVar[Mapping[str, Any]] = {"budget": None, "rate": None, "schedule": None, "average": 0.0}
    GOING_ON: ClassVar[Mapping[str, Any]] = {"shrink": None, "perturb": None, "interpolate": False, "restart": "last"}

    name: Literal[
        "auto", "keep", "finetune", "lwf", "l2sp", "ewc", "replay", "derpp", "distil", "rehearse", "union", "scratch"
    ] = "auto"  # fmt: skip
    budget: Annotated[float, Field(gt=0, le=10)] | None = None
    rate: Positive | None = None
    schedule: Schedule | None = None
    shrink: Annotated[float, Field(ge=0, le=1)] | None = None
    perturb: Annotated[float, Field(ge=0, le=1)] | None = None
    average: Share = 0.0
    interpolate: bool = False
    restart: Literal["last", "stable"] = "last"
    weight: Annotated[float, Field(ge=0)] = 1.0
    strength: Annotated[float, Field(ge=0)] = 1.0
    noise: Annotated[float, Field(ge=0)] = 0.1
    unseen: Share | None = None

    @classmethod
    def options_of(cls, name: str) -> dict[str, Any]:
        """The options that go with a name, and their defaults: what starts anew has none of those of going on."""
        if name in ("auto", "keep"):
            return {}
        return {**cls.EVERY, **({} if name in ANEW else cls.GOING_ON), **cls.OPTIONS[name]}

    @model_serializer
    def written(self) -> Any:
        """The name, with the options that differ from their defaults."""
        return {"name": self.name} | more if (more := self.differing()) else self.name


METHODS: tuple[str, ...] = tuple(Method.OPTIONS)
ANEW = ("union", "scratch")  # methods that restore no weights
WHOLE = ("rehearse", *ANEW)  # methods that read what was seen
WITH_RESERVOIR = ("ewc", "replay", "derpp", "distil")  # methods that need the sample of what was seen


class Retraining(Table):
    """[retraining]: `automatic` goes on as declared in [training]; `manual` has settings of its own.

    `reservoir`: the share of the rows that a version has seen which travels with it; 0: none do.
    """

    type: Literal["automatic", "manual"] = "automatic"
    method: tuple[Method, ...] = (Method(),)
    reservoir: Annotated[float, Field(ge=0, le=1)] = 0.1
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    epochs: Epochs | None = None
    early_stopping: EarlyStopping | None = None

    @field_validator("method", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str | dict) else tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.method:
            raise ValueError("'method' names no method")
        if self.type == "automatic" and (self.optimizer or self.schedule or self.epochs or self.early_stopping):
            raise ValueError('settings of its own need type = "manual"')
        return self
