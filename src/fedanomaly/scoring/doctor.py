"""What keeps a scoring service from serving: one check after the other, each with the next step.

It reads and asks, and changes nothing, so it may run beside the service.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from fedanomaly.errors import FedAnomalyError
from fedanomaly.fhe.scoring import Instructions
from fedanomaly.scoring.config import MIB, ScoringConfig
from fedanomaly.scoring.home import Home
from fedanomaly.scoring.models import admit
from fedanomaly.scoring.release import SUFFIX, read_release
from fedanomaly.transport import checks
from fedanomaly.transport.checks import Check, fail, failed, ok, warn


def examine(home: Home) -> Iterator[Check]:
    """Yield one check after the other."""
    yield checks.versions()
    yield from checks.permissions(home.folder, ())
    try:
        config = home.config
    except FedAnomalyError as error:
        yield failed("settings", error)
        return
    yield ok("settings", f"federation {config.federation[:16]}…, {config.origin}")
    certificate = home.folder / config.tls_certificate
    if config.tls_certificate:
        yield from checks.certificate(certificate, home.folder / config.tls_key, settings="scoring.toml")
    yield _processor()
    if config.tenants:
        yield ok("tenants", ", ".join(config.tenants))
    else:
        yield warn("tenants", "nobody may ask", "run: fedanomaly scoring add-tenant HOME NAME KEY")
    yield from _releases(home, config)
    yield from _way(config, certificate)


def _processor() -> Check:
    best = Instructions.best()
    if best is Instructions.PORTABLE:
        return warn("processor", "no AVX2: batches take many times as long", "use a machine that has it")
    return ok("processor", f"kernels for {best.name.lower()}")


def _releases(home: Home, config: ScoringConfig) -> Iterator[Check]:
    """Check each release file as the service does."""
    files = sorted(home.models_path.glob(f"*{SUFFIX}"))
    for file in files:
        name = f"release {file.name}"
        try:
            found = read_release(file.read_bytes(), federation=config.federation_id, releasers=config.releaser_keys)
            admit(found.circuit, max_batch_bytes=config.max_batch_mib * MIB)
        except FedAnomalyError as error:
            yield failed(name, error)
        except OSError as error:
            yield fail(name, f"cannot be read: {error.strerror}", f"let the service's user read {file}")
        else:
            facts = f"{found.circuit.kind}, {found.circuit.features} features"
            yield ok(name, f"{found.name} version {found.version}: {facts}")
    if not files and not config.max_uploads_per_tenant:
        step = f"put release files into {home.models_path}, or set max_uploads_per_tenant"
        yield warn("models", "none is released, and tenants may not upload theirs", step)
    elif not files:
        yield ok("models", "none is released; tenants may upload theirs")


def _way(config: ScoringConfig, certificate: Path) -> Iterator[Check]:
    """Check that something answers there and that it has the certificate of the settings."""
    trust = None
    if config.tls_certificate:
        try:
            trust = ssl.create_default_context(cafile=certificate)
        except OSError as error:
            yield fail("TLS", f"{certificate.name}: {error.strerror or error}", "set tls_certificate in scoring.toml")
            return
        # Whatever its names and its issuer are, it must be that one.
        trust.check_hostname = False
        trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for check in checks.way_to(config.origin, trust=trust):
        yield check
        if check.level == "fail":
            return
    yield checks.answer_of(config.origin, "/health", trust=trust)[0]
