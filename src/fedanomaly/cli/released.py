"""Makes signed releases of a node's models, for `fedanomaly models release`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedanomaly.cli.output import writing
from fedanomaly.cli.passphrase import passphrase_of
from fedanomaly.errors import ConfigError
from fedanomaly.fhe.scoring import PreparedCircuit
from fedanomaly.node.home import Home
from fedanomaly.node.models import ModelStore
from fedanomaly.node.scoring import Scorer
from fedanomaly.scoring.release import SUFFIX, Release, make_release


def write_release(home: Home, passphrase_file: Path | None, name: str, version: int | None, to: Path) -> dict[str, Any]:
    """Sign a model with the node's identity and write the release file; returns what was done.

    Parameters
    ----------
    home : Home
        Of the node, whether it runs or not.
    passphrase_file : Path or None
        Of its keystore.
    name : str
        Of the model.
    version : int or None
        The newest, if None.
    to : Path
        A file, or a folder that exists.

    Raises
    ------
    ConfigError
        If the node is in no federation, the model has no circuit, or the file cannot be written.
    CapacityError
        If its weights are too large to be computed exactly.
    NotFoundError
        If there is no such model.
    """
    if home.membership is None:
        raise ConfigError("this node is in no federation", hint="run: fedanomaly node enrol INVITATION")
    if not to.is_dir() and to.suffix != SUFFIX:
        raise ConfigError(f"{to} is no folder, and its name does not end in {SUFFIX}")
    keystore = home.unlock(passphrase_of(passphrase_file))
    model = ModelStore(home.root / "models", keystore).load(name, version)
    number = model.lineage.version
    # The balanced one: its digest is what tenants ask for.
    circuit, _ = Scorer.of(model.lineage.schema, model.state).detector.encryptable().circuit().balanced()
    _ = PreparedCircuit(circuit, bytes(32))  # raises for what no service could compute
    released = Release(federation=home.membership.federation, name=name, version=number, circuit=circuit)
    file = to / f"{name}-{number}{SUFFIX}" if to.is_dir() else to
    # A service may be another user, so it gets the usual mode: there is no secret in it.
    half = file.with_name(f".{file.name}.tmp")
    with writing(file):
        half.write_bytes(make_release(released, [keystore]))
        half.replace(file)
    return {
        "model": name,
        "version": number,
        "digest": circuit.digest.hex(),
        "federation": home.membership.federation.hex(),
        "signer": keystore.public_key.hex(),
        "file": str(file),
    }
