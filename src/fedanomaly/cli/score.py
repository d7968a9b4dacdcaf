"""`fedanomaly score`: scores of new rows, on this machine."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedanomaly.cli.options import NODE_HOME, Json, NodeHome, PassphraseFile
from fedanomaly.cli.output import done, print_json, size_text, stdout, table, writing
from fedanomaly.cli.passphrase import passphrase_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from fedanomaly.client.models import Model
    from fedanomaly.node.home import Home
    from fedanomaly.types import Floats, Integers

TOP = 10


@dataclass(frozen=True, eq=False)
class _Scored:
    scores: Floats
    labels: pa.Array | None
    top: Floats
    """Encoded rows with the highest scores, the highest first; at most `TOP`."""


def score(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    file: Annotated[
        Path | None, typer.Argument(help="CSV, Parquet or Arrow file; else the held-out rows of the data set.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write scores to this CSV or Parquet file.")] = None,
    evaluate: Annotated[bool, typer.Option("--evaluate", help="Hold the scores against labels.")] = False,
    label: Annotated[
        str | None, typer.Option("--label", help="Column of FILE with the labels, for --evaluate.")
    ] = None,
    history: Annotated[
        Path | None, typer.Option("--history", help="Rows that came before those of FILE, for windows; not scored.")
    ] = None,
    version: Annotated[int | None, typer.Option("--version", min=1, help="Version; else the newest.")] = None,
    encrypted: Annotated[
        bool, typer.Option("--encrypted", help="Let a service compute the scores on ciphertexts.")
    ] = False,
    service: Annotated[
        str | None, typer.Option("--service", help="URL of the scoring service; else the one that policy.toml names.")
    ] = None,
    service_ca: Annotated[
        Path | None, typer.Option("--service-ca", help="PEM file of certificates that vouch for the service.")
    ] = None,
    hide_model: Annotated[
        bool, typer.Option("--hide-model", help="With --encrypted: the service does not see the model either.")
    ] = False,
    home: NodeHome = NODE_HOME,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Score rows with a model; high is anomalous. Nothing leaves this machine.

    With --encrypted the rows of FILE do, encrypted under keys that exist for one
    batch each: the service sees neither rows nor scores. What it answers is
    checked on events drawn at random. With --hide-model it gets the model
    encrypted too, which costs more and is sent anew by every call.

    Labels serve evaluation only: 0 is normal, anything else an anomaly.

    Windows of a feature schema begin with the first row of FILE, unless --history
    holds what came before; those of held-out rows go on from the training rows.

    [bold]Example[/bold]

    $ fedanomaly score payments november.csv --out scores.parquet
    $ fedanomaly score payments november.csv --evaluate --label is_fraud --json
    $ fedanomaly score payments november.csv --history october.csv
    $ fedanomaly score payments --evaluate
    $ fedanomaly score payments nov.csv --encrypted --service https://a.example
    $ fedanomaly score payments nov.csv --encrypted --hide-model
    """
    from fedanomaly.cli.opened import OpenedModels
    from fedanomaly.node.home import Home

    found = Home(home.expanduser())
    if encrypted:
        policy = found.policy_file
        hide_model = hide_model or policy.score_remotely_hide_model
        if service is None:
            service, service_ca = policy.score_remotely or None, service_ca or found.scoring_authority
    _check_options(file, label, history, service, evaluate=evaluate, encrypted=encrypted, hide_model=hide_model)
    opened = OpenedModels(found, passphrase_file).load(model, version)
    facts = None
    if service is not None and file is not None:
        from fedanomaly.cli.remote import asked

        passphrase = passphrase_of(passphrase_file)
        with asked(opened.detector, service, service_ca, found, passphrase, hide_model=hide_model) as remote:
            scored = _of_file(opened, file, label, history, remote.scores)
            facts = remote.facts()
    elif file is not None:
        scored = _of_file(opened, file, label, history, opened.detector.anomaly_scores)
    else:
        scored = _of_holdout(opened, found, passphrase_file, with_labels=evaluate)
    scores = scored.scores
    told: dict[str, Any] = {
        "model": opened.lineage["name"],
        "version": opened.lineage["version"],
        "rows": len(scores),
        "threshold": opened.threshold,
        "outliers": int((scores > opened.threshold).sum()),
    }
    if facts is not None:
        told["encrypted"] = facts
    if evaluate and scored.labels is not None:
        from fedanomaly.cli.evaluation import evaluate as figures

        told["evaluation"] = figures(scores, scored.labels)
    if out is not None:
        _write(out, scores, opened.threshold)
        told["out"] = str(out)
    if as_json:
        print_json(told if out else {**told, "scores": scores.tolist()})
        return
    _show(told)
    if out is None:
        _show_top(told["threshold"], scores, opened.reasons_of(scored.top))


def _check_options(
    file: Path | None,
    label: str | None,
    history: Path | None,
    service: str | None,
    *,
    evaluate: bool,
    encrypted: bool,
    hide_model: bool,
) -> None:
    from fedanomaly.errors import ConfigError

    if evaluate and (file is None) == (label is not None):
        raise ConfigError("--evaluate takes --label with a FILE, and no label with held-out rows")
    if label is not None and not evaluate:
        raise ConfigError("--label serves --evaluate", hint="add --evaluate, or leave the label out")
    if history is not None and file is None:
        raise ConfigError("--history serves a FILE", hint="held-out rows go on from the training rows by themselves")
    if encrypted and (service is None or file is None):
        raise ConfigError(
            "--encrypted takes --service and a FILE", hint="policy.toml may name the service: score_remotely"
        )
    if service is not None and not encrypted:
        raise ConfigError("--service serves --encrypted", hint="add --encrypted, or leave the service out")
    if hide_model and not encrypted:
        raise ConfigError(
            "--hide-model serves --encrypted", hint="add --encrypted; without it the model stays on this machine"
        )


def _of_file(
    model: Model, file: Path, label: str | None, history: Path | None, scores_of: Callable[[Floats], Floats]
) -> _Scored:
    import numpy as np
    import pyarrow as pa

    from fedanomaly.errors import DataError
    from fedanomaly.features import Encoder, Schema
    from fedanomaly.node.encoding import types_of
    from fedanomaly.node.sources import FileSource

    # One encoder for all batches: its windows reach over their edges.
    encoder = Encoder(Schema.from_json(model.lineage["feature_schema"]))
    types = types_of(encoder.schema)
    for batch in FileSource(history, types=types).batches() if history is not None else ():
        encoder.encode(batch)
    scores, labels, top = [], [], []
    for batch in FileSource(file, types=types).batches():
        rows = encoder.encode(batch)
        scores.append(scores_of(rows))
        top.append(rows[_highest(scores[-1])])
        if label is not None:
            if label not in batch.schema.names:
                raise DataError(f"there is no column {label}")
            labels.append(batch.column(label))
    if not scores:
        raise DataError(f"{file.name} has no rows")
    best = np.concatenate([found[_highest(found)] for found in scores])
    return _Scored(
        np.concatenate(scores),
        pa.concat_arrays(labels) if labels else None,
        np.concatenate(top)[_highest(best)],
    )


def _of_holdout(model: Model, home: Home, passphrase_file: Path | None, *, with_labels: bool) -> _Scored:
    from fedanomaly.features import Schema
    from fedanomaly.node.datasets import Datasets
    from fedanomaly.node.encoded import encoded_holdout

    datasets = Datasets(home.root / "data", home.unlock(passphrase_of(passphrase_file)))
    snapshot = datasets.newest(model.lineage["dataset"])
    labels = datasets.labels(snapshot) if with_labels else None
    rows = encoded_holdout(datasets, snapshot, Schema.from_json(model.lineage["feature_schema"]))
    scores = model.detector.anomaly_scores(rows)
    return _Scored(scores, labels, rows[_highest(scores)])


def _highest(scores: Floats) -> Integers:
    import numpy as np

    return np.argsort(-scores, kind="stable")[:TOP]


def _write(out: Path, scores: Floats, threshold: float) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    from fedanomaly.errors import DataError

    written = pa.table({"score": scores, "prediction": np.where(scores > threshold, -1, 1)})
    if out.suffix.lower() == ".csv":
        with writing(out):
            pyarrow.csv.write_csv(written, out)
    elif out.suffix.lower() in {".parquet", ".pq"}:
        with writing(out):
            pq.write_table(written, out)
    else:
        raise DataError(f"{out.name} is of no kind that is written here", hint="known: .csv, .parquet")


def _show(told: dict[str, Any]) -> None:
    done(f"model      {told['model']} version {told['version']}, threshold {told['threshold']:.6g}")
    done(f"rows       {told['rows']:,}, of them {told['outliers']:,} above the threshold")
    if "encrypted" in told:
        remote = told["encrypted"]
        done(
            f"encrypted  {remote['batches']:,} batches, {size_text(remote['bytes_up'])} up, "
            f"{size_text(remote['bytes_down'])} down; {remote['uncertain']:,} rows too near the threshold to tell, "
            f"{remote['local']:,} scored here"
        )
        if size := remote["hidden_model_bytes"]:
            done(f"hidden     the model went up encrypted too, {size_text(size)}")
    if "evaluation" in told:
        found = told["evaluation"]
        done(
            f"quality    AUROC {found['auroc']:.4f}, average precision {found['average_precision']:.4f}, recall "
            f"{found['recall_at_budget']:.4f} at {100 * found['budget']:g} % alerts ({found['anomalies']:,} anomalies)"
        )
    if "out" in told:
        done(f"written    {told['out']}")


def _show_top(threshold: float, scores: Floats, reasons: list[list[str]]) -> None:
    rows = [
        (int(row), f"{scores[row]:.6g}", "outlier" if scores[row] > threshold else "", "; ".join(said))
        for row, said in zip(_highest(scores), reasons, strict=True)
    ]
    title = "the most anomalous rows; the first row of all is 0"
    stdout().print(table([">row", ">score", "", "what is unusual"], rows, title=title))
