"""Contents: the files of a package, read without JAX: that takes longer than all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from gitdata.errors import DataUnavailable
from gitdata.training.architecture import notation
from gitdata.training.architecture import plan as plans
from gitdata.training.architecture.layers import Misfit
from gitdata.training.architecture.plan import Plan
from gitdata.training.preprocessing import Preprocessing

Files = Mapping[str, bytes]


def preprocessing_of(files: Files) -> Preprocessing:
    """What a package was fitted to. Raises DataUnavailable where it is damaged."""
    try:
        return Preprocessing.from_json(document(files, "preprocessing.json"))
    except (KeyError, ValueError) as error:
        raise damaged("preprocessing.json", str(error)) from error


def plan_of(files: Files, preprocessing: Preprocessing) -> Plan:
    """The network of a package. Raises DataUnavailable where it is damaged."""
    try:
        return _plan(document(files, "network.json"), preprocessing)
    except (KeyError, TypeError, ValueError, Misfit) as error:
        raise damaged("network.json", str(error)) from error


def _plan(document: Any, preprocessing: Preprocessing) -> Plan:
    """In format 1 it was a list of widths and activations over one line of inputs."""
    if "input_width" not in document:
        return plans.from_json(document)
    widths = [layer if isinstance(layer, str) else {"dense": layer} for layer in document["layers"]]
    for place in [place for place, layer in enumerate(widths) if isinstance(layer, dict)][-1:]:
        widths[place] = {"dense": "outputs"}
    inputs = tuple(field.as_input for field in preprocessing.inputs)
    if len(inputs) == 1 and len(inputs[0].shape) > 1:
        widths.insert(0, "flatten")
    outputs = tuple(plans.Output(field.name, field.width) for field in preprocessing.outputs)
    return Plan(inputs, outputs, notation.read(widths, {}))


def document(files: Files, name: str) -> Any:
    """A JSON file of a package."""
    if name not in files:
        raise damaged(name, "it is missing")
    try:
        return json.loads(files[name])
    except (ValueError, RecursionError) as error:
        raise damaged(name, "it is no JSON") from error


def tensors(files: Files, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of a file of a package, by name."""
    if name not in files:
        raise damaged(name, "it is missing")
    try:
        return dict(load(files[name]))
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise damaged(name, f"it holds no tensors ({error})") from error


def damaged(part: str, why: str) -> DataUnavailable:
    """What is said of a package that is not what it was."""
    return DataUnavailable(f"The package is damaged: {part}: {why}.", "Fetch it again, or use another version.")
