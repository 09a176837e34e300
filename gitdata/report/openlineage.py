"""OpenLineage: a lineage as run events of that standard (2-0-2), plain data that any of its consumers takes.

A version of a model is the one output of one finished run. Every extension, and every version, is a dataset of its own
name: immutable things that would only get into each other's way under a common one. What of a version the standard has
no facet for is in its tags.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from gitdata import __version__
from gitdata.commands.records import Record
from gitdata.training.retraining import ANEW, WHOLE

SPECIFICATION = "https://openlineage.io/spec"
PRODUCER = f"urn:gitdata:{__version__}"
NEVER = "1970-01-01T00:00:00Z"  # of a version whose commit on the ledger is not here

_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[^/:]+):(?P<path>.+)")

Event = dict[str, Any]


def run_events(records: Sequence[Record], namespace: str) -> list[Event]:
    """One COMPLETE event for each version of a lineage (youngest first), oldest first."""
    return [_event(record, records[place:], namespace) for place, record in reversed([*enumerate(records)])]


def namespace_of(url: str | None, top: str) -> str:
    """A repository as a URI, without what may let anybody in: credentials, or a token in a query.

    `url`: of its git remote; None: it has none, and is its own folder.
    """
    if url is None or url.startswith("/") or (url.startswith(".") and "://" not in url):
        return f"file://{quote(url if url and url.startswith('/') else top)}"
    if "://" not in url and (found := _SCP.fullmatch(url)):
        return f"ssh://{found['host']}/{quote(found['path'].lstrip('/'))}"
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def run_id(version: str) -> str:
    """The UUID of the run that made a version: it follows from the version's id."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"gitdata:{version}"))


def _event(record: Record, line: Sequence[Record], namespace: str) -> Event:
    """`line`: the version's record and those of its ancestors."""
    parent = line[1] if len(line) > 1 else None
    recorded = record["recorded"]
    return {
        "eventType": "COMPLETE",
        "eventTime": recorded["time"] if recorded else NEVER,
        "producer": PRODUCER,
        "schemaURL": f"{SPECIFICATION}/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": run_id(record.id), "facets": _run_facets(record, parent, namespace)},
        "job": {"namespace": namespace, "name": record["model"], "facets": _job_facets(record, namespace)},
        "inputs": [*_extensions(record, line, namespace), *_restored(record, parent, namespace)],
        "outputs": [_version(record, namespace)],
    }


# --- what was read and made ----------------------------------------------------------------------------------


def _extensions(record: Record, line: Sequence[Record], namespace: str) -> Iterable[Event]:
    """The extensions whose rows were read: what was unseen, and by some methods what was seen as well."""
    read = line if record["method"] in WHOLE else line[:1]
    found = {extension["id"]: extension for one in reversed(read) for extension in one["extensions"]}
    return [_extension(extension, namespace) for extension in found.values()]


def _extension(extension: Mapping[str, Any], namespace: str) -> Event:
    facets = {"version": _facet("DatasetVersionDatasetFacet", "1-0-1", datasetVersion=extension["id"])}
    if extension["dataset"] is None:
        return {"namespace": namespace, "name": f"datasets/{extension['id'][:8]}", "facets": facets}
    facets["dataSource"] = _facet("DatasourceDatasetFacet", "1-0-1", name=extension["dataset"], uri=namespace)
    facets["tags"] = _tags("TagsDatasetFacet", {"listing": extension["listing"]})
    if extension["fields"] is not None:
        facets["schema"] = _facet("SchemaDatasetFacet", "1-2-0", fields=[_field(one) for one in extension["fields"]])
    read = _facet("InputStatisticsInputDatasetFacet", "1-0-0", rowCount=extension["rows"].get("train", 0))
    name = f"datasets/{extension['dataset']}/{extension['label']}"
    return {"namespace": namespace, "name": name, "facets": facets, "inputFacets": {"inputStatistics": read}}


def _field(field: Mapping[str, Any]) -> Event:
    shape = "".join(f"[{size}]" for size in field.get("shape", ()))
    return {"name": field["name"], "type": f"{field['dtype']}{shape}"}


def _restored(record: Record, parent: Record | None, namespace: str) -> Iterable[Event]:
    """The version that was gone on from, where one was: what trains anew does not read its parent."""
    return [] if parent is None or record["method"] in ANEW else [_version(parent, namespace)]


def _version(record: Record, namespace: str) -> Event:
    facets = {
        "version": _facet("DatasetVersionDatasetFacet", "1-0-1", datasetVersion=record.id),
        "dataSource": _facet("DatasourceDatasetFacet", "1-0-1", name=record["model"], uri=namespace),
        "datasetType": _facet("DatasetTypeDatasetFacet", "1-0-1", datasetType="MODEL"),
        "tags": _tags("TagsDatasetFacet", {"package": record["package"]}),
    }
    name = f"models/{record['model']}/{record['number']}-{record.id[:8]}"
    return {"namespace": namespace, "name": name, "facets": facets}


# --- facets of run and job -----------------------------------------------------------------------------------


def _run_facets(record: Record, parent: Record | None, namespace: str) -> Event:
    environment = record["environment"] or {}
    about = {name: record[name] for name in ("declaration", "method", "number", "restore", "verdict")}
    facets = {"tags": _tags("TagsRunFacet", {**about, **{f"environment.{k}": v for k, v in environment.items()}})}
    if "jax" in environment:
        engine = {"name": "jax", "version": environment["jax"]}
        adapter = environment.get("gitdata", __version__)
        facets["processing_engine"] = _facet(
            "ProcessingEngineRunFacet", "1-1-1", **engine, openlineageAdapterVersion=adapter
        )
    if parent is not None:
        job = {"namespace": namespace, "name": record["model"]}
        upstream = {"job": job, "run": {"runId": run_id(parent.id)}, "dependency_type": "IMPLICIT_DEPENDENCY"}
        facets["jobDependencies"] = _facet("JobDependenciesRunFacet", "1-0-1", upstream=[upstream], downstream=[])
    return facets


def _job_facets(record: Record, namespace: str) -> Event:
    path = f"models/{record['model']}.toml"
    url = namespace
    if namespace.startswith("https://"):
        url = f"{namespace.removesuffix('/').removesuffix('.git')}/blob/{record['commit']}/{quote(path)}"
    kind = {"processingType": "BATCH", "integration": "GITDATA", "jobType": "TRAINING"}
    place = {"type": "git", "url": url, "repoUrl": namespace, "path": path, "version": record["commit"]}
    facets = {
        "jobType": _facet("JobTypeJobFacet", "2-0-4", **kind),
        "sourceCodeLocation": _facet("SourceCodeLocationJobFacet", "1-1-0", **place),
    }
    if record["declaration_text"] is not None:
        source = record["declaration_text"]
        facets["sourceCode"] = _facet("SourceCodeJobFacet", "1-0-1", language="TOML", sourceCode=source)
    return facets


def _tags(name: str, values: Mapping[str, object]) -> Event:
    tags = [{"key": key, "value": str(value), "source": "GITDATA"} for key, value in sorted(values.items())]
    return _facet(name, "1-0-0", tags=tags)


def _facet(name: str, version: str, /, **fields: Any) -> Event:
    """A facet of the standard, in the version of its schema that it is written by."""
    about = {"_producer": PRODUCER, "_schemaURL": f"{SPECIFICATION}/facets/{version}/{name}.json#/$defs/{name}"}
    return about | fields
