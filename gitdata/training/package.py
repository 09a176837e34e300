"""Packages: what a model version consists of, as plain files; reading one executes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from gitdata.canonical import readable_json
from gitdata.errors import Mendable
from gitdata.training import contents, network, reservoir
from gitdata.training.architecture import plan as plans
from gitdata.training.architecture.layers import Misfit
from gitdata.training.architecture.plan import Plan
from gitdata.training.blocks import blocks_of
from gitdata.training.preprocessing import Numeric, Preprocessing
from gitdata.training.reservoir import Reservoir
from gitdata.training.summary import Summary

FORMAT = 2
TENSORS = ("weights", "state", "trained_rows")
_STABLE = "stable.safetensors"

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Package:
    """Weights by name, optimiser state by name, the steps taken, and all that is needed to use them.

    `trained_rows`: sorted digests (uint64) of the rows it was trained on. `manifest` says what made it. `stable`: the
    weights before the learning rate last fell, by name, where they are kept.
    """

    plan: Plan
    preprocessing: Preprocessing
    weights: dict[str, NDArray[np.float32]]
    state: dict[str, NDArray[Any]]
    position: int
    manifest: dict[str, Any]
    trained_rows: NDArray[np.uint64]
    reservoir: Reservoir | None = None
    summary: Summary | None = None
    stable: dict[str, NDArray[np.float32]] | None = None


def encode(package: Package) -> dict[str, bytes]:
    """The files of a package by name: equal packages are equal bytes."""
    tensors = {
        "weights": package.weights,
        "state": package.state,
        "trained_rows": {"digests": package.trained_rows},
    } | ({"stable": package.stable} if package.stable is not None else {})
    documents = {
        "network": plans.to_json(package.plan),
        "preprocessing": package.preprocessing.to_json(),
        "manifest": {**package.manifest, "format": FORMAT, "position": package.position},
    }
    kept = reservoir.encode(package.reservoir) if package.reservoir is not None else {}
    if package.summary is not None:
        tensors["summary"], documents["summary"] = package.summary.to_arrays()
    files = {
        f"{name}.safetensors": save({key: np.asarray(arrays[key], order="C") for key in sorted(arrays)})
        for name, arrays in tensors.items()
    }
    return files | kept | {f"{name}.json": readable_json(document) for name, document in documents.items()}


def decode(files: Mapping[str, bytes]) -> Package:
    """The package that files are. Raises DataUnavailable naming the part that is missing, damaged or too new."""
    arrays = {name: contents.tensors(files, f"{name}.safetensors") for name in TENSORS}
    manifest = contents.document(files, "manifest.json")
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
        raise contents.damaged("manifest.json", "it is malformed")
    if manifest["format"] > FORMAT:
        raise contents.damaged("manifest.json", f"it has format {manifest['format']}; update gitdata")
    preprocessing = contents.preprocessing_of(files)
    plan = contents.plan_of(files, preprocessing)
    try:
        held = sum(array.size for array in arrays["weights"].values())
        if network.weights_of(plan) != held:  # before anything of the declared size is made
            raise ValueError(f"the network has {network.weights_of(plan)} weights, the package holds {held}")
        network.vector(plan, arrays["weights"])
        stable = contents.tensors(files, _STABLE) if _STABLE in files else None
        if stable is not None:
            network.vector(plan, stable)
        if tuple(field.as_input for field in preprocessing.inputs) != plan.inputs:
            raise ValueError("network and preprocessing have different inputs")
        if tuple((field.name, field.width) for field in preprocessing.outputs) != tuple(map(astuple, plan.outputs)):
            raise ValueError("network and preprocessing have different outputs")
        return Package(
            plan,
            preprocessing,
            arrays["weights"],
            arrays["state"],
            int(manifest["position"]),
            {key: value for key, value in manifest.items() if key not in ("format", "position")},
            np.asarray(arrays["trained_rows"]["digests"], np.uint64),
            _reservoir(files, preprocessing),
            _summary(files, preprocessing),
            stable,
        )
    except (ValueError, KeyError, TypeError, OverflowError, Misfit) as error:
        raise contents.damaged("one of its parts", str(error)) from error


def _reservoir(files: Mapping[str, bytes], codes: Preprocessing) -> Reservoir | None:
    """The reservoir of a package, if it has one: rows that its preprocessing takes. Raises DataUnavailable."""
    found = reservoir.decode(files)
    if found is None:
        return None
    if list(found.columns) != [field.name for field in (*codes.inputs, *codes.outputs)]:
        raise contents.damaged("the reservoir", "it has other fields than the version")
    if found.answers.shape[1] != codes.output_width:
        raise contents.damaged("the reservoir", "its answers are not those of this version")
    numbers = (field for field in codes.outputs if isinstance(field, Numeric))  # validation rows may have other classes
    try:
        for field in (*codes.inputs, *numbers) if len(found.digests) else ():
            field.encode(found.columns)
    except (Mendable, ValueError, TypeError) as error:
        raise contents.damaged("the reservoir", f"its '{field.name}' is not that of the version") from error
    return found


def _summary(files: Mapping[str, bytes], codes: Preprocessing) -> Summary | None:
    """The summary of a package, if it has one. Raises DataUnavailable where it is damaged, or of other fields."""
    if "summary.json" not in files:
        return None
    arrays, document = contents.tensors(files, "summary.safetensors"), contents.document(files, "summary.json")
    try:
        found = Summary.from_arrays(arrays, document)
    except ValueError as error:
        raise contents.damaged("the summary", str(error)) from error
    if set(found.fields) != {field.name for field in (*codes.inputs, *codes.outputs)}:
        raise contents.damaged("the summary", "it has other fields than the version")
    return found


def predict(package: Package, columns: Columns) -> dict[str, NDArray[Any]]:
    """Predictions by output for every row, in original units or as class names."""
    return package.preprocessing.decode_outputs(raw_outputs(package, columns))


def raw_outputs(package: Package, columns: Columns) -> NDArray[np.float32]:
    """The network's own outputs, shape (rows, output width): standardised values, or logits."""
    weights, encode = network.vector(package.plan, package.weights), package.preprocessing.encode_inputs
    return np.concatenate([network.forward(package.plan, weights, encode(block)) for block in blocks_of(columns)])
