"""A member's part in the set-up of a key epoch: hello, accept, deal, confirm."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fedanomaly.errors import FedAnomalyError, MessageError, ProtocolError, RefusedError
from fedanomaly.protocol.capabilities import Rows, Secrets, Signer, Vault
from fedanomaly.protocol.envelope import Post, seal
from fedanomaly.protocol.epochs import Epoch, EpochState
from fedanomaly.protocol.messages import Confirm, Deal, Hello, Objection, RosterAccept
from fedanomaly.protocol.settings import Policy
from fedanomaly.types.canonical import item_int

Fetch = Callable[[bytes], bytes]
"""Returns the attachment with a digest; the caller has checked the digest."""


class KeySetup:
    """What one member does, and keeps, to set up key epochs.

    Parameters
    ----------
    signer : Signer
        The member's identity.
    federation : bytes
        Identifier of the federation.
    vault, rows : Vault, Rows
        Where secrets and what was sent are kept.
    policy : Policy
        What the member accepts.
    entropy : callable
        Returns so many random bytes.
    """

    def __init__(
        self,
        *,
        signer: Signer,
        federation: bytes,
        vault: Vault,
        rows: Rows,
        policy: Policy,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._signer = signer
        self._federation = federation
        self._vault = vault
        self._rows = rows
        self._policy = policy
        self._entropy = entropy
        self._live: dict[bytes, Secrets] = {}
        self._unusable: dict[bytes, tuple[int, str]] = {}

    def act(self, epoch: Epoch, fetch: Fetch) -> Iterator[Post]:
        """Yield what is due for an epoch that is being set up.

        What another member posted may be of no use here: a hello with a false
        key, a deal that does not open. That is said once; the rest of the roster
        waits until the coordinator gives the set-up up.
        """
        me = epoch.index_of(self._signer.public_key)
        try:
            yield from self._due(epoch, me, fetch)
        except MessageError:
            about, what = self._unusable.pop(epoch.digest, (0, ""))
            if about and (me, about) not in epoch.objections:
                objection = Objection(roster=epoch.roster_hash, about=about, what=what)
                yield self._post(objection.kind, objection.to_bytes())
            raise

    def _due(self, epoch: Epoch, me: int, fetch: Fetch) -> Iterator[Post]:
        match epoch.state:
            case EpochState.CALLED if me not in epoch.hellos:
                yield self._hello(epoch, me)
            case EpochState.ACCEPTING if me not in epoch.accepts:
                yield self._accept(epoch, me)
            case EpochState.DEALING:
                for to in range(1, epoch.members + 1):
                    if to != me and (me, to) not in epoch.deals:
                        yield self._deal(epoch, me, to)
            case EpochState.CONFIRMING if me not in epoch.confirms:
                yield self._confirm(epoch, me, fetch)
            case _:
                return

    def secrets(self, epoch: Epoch, fetch: Fetch) -> Secrets:
        """Return the secrets of a confirmed epoch.

        Raises
        ------
        RefusedError
            If this node does not hold them.
        """
        if epoch.digest not in self._live:
            me = epoch.index_of(self._signer.public_key)
            kept = self._load(epoch.live_label, epoch, me)
            self._live[epoch.digest] = kept or self._finish(epoch, me, fetch)[0]
        return self._live[epoch.digest]

    def forget(self, epoch: Epoch, job: int) -> None:
        """Erase the group keys of all jobs of an epoch before `job`, in memory and at rest."""
        secrets = self._live.get(epoch.digest)
        if secrets:
            secrets.forget(job)
            self._vault.save(epoch.live_label, secrets)

    def destroy(self, epoch: Epoch) -> None:
        """Destroy the secrets of an epoch that has ended, or was given up before it began."""
        secrets = self._live.pop(epoch.digest, None)
        if secrets:
            secrets.close()
        self._vault.destroy(epoch.digest)
        self._vault.destroy(epoch.live_label)
        self._drop_deals(epoch)

    def close(self) -> None:
        """Erase all secrets from memory."""
        for secrets in self._live.values():
            secrets.close()
        self._live.clear()

    def _post(self, kind: str, body: bytes, attachment: bytes | None = None) -> Post:
        return seal(self._signer, self._federation, kind, body, attachment)

    def _load(self, label: bytes, epoch: Epoch, me: int) -> Secrets | None:
        return self._vault.load(label, members=epoch.members, threshold=epoch.call.threshold, index=me)

    def _hello(self, epoch: Epoch, me: int) -> Post:
        refusal = self._policy.refuses_epoch(epoch.call)
        if refusal:
            raise RefusedError(refusal, hint="change policy.toml, or ask the coordinator's operator")
        body = self._rows.get("hello", epoch.digest)
        if body is None:
            secrets = self._load(epoch.digest, epoch, me) or self._vault.generate(
                epoch.digest, members=epoch.members, threshold=epoch.call.threshold, index=me
            )
            message = Hello(call=epoch.digest, nonce=self._entropy(32), hello=secrets.hello())
            secrets.close()
            body = message.to_bytes()
            self._rows.put([("hello", epoch.digest, body)])
        return self._post("hello", body)

    def _accept(self, epoch: Epoch, me: int) -> Post:
        posted, _ = epoch.hellos[me]
        if self._rows.get("hello", epoch.digest) != posted.to_bytes():
            raise RefusedError("the roster holds a hello that this node did not write")
        self._rows.put([("roster", epoch.digest, epoch.roster_hash)])
        return self._post("roster-accept", RosterAccept(roster=epoch.roster_hash).to_bytes())

    def _deal(self, epoch: Epoch, me: int, to: int) -> Post:
        self._check_roster(epoch)
        key = epoch.digest + item_int("receiver", to)
        envelope = self._rows.get("deal", key)
        if envelope is None:
            secrets = self._dealing(epoch, me)
            self._unusable[epoch.digest] = (to, "hello")
            try:
                envelope = secrets.deal(to, hello=epoch.hello_of(to), info=epoch.deal_info(me, to))
            finally:
                secrets.close()
            self._unusable.clear()
            self._rows.put([("deal", key, envelope)])
        return self._post("deal", Deal(roster=epoch.roster_hash, receiver=to).to_bytes(), envelope)

    def _confirm(self, epoch: Epoch, me: int, fetch: Fetch) -> Post:
        self._check_roster(epoch)
        body = self._rows.get("confirm", epoch.digest)
        if body is None or self._load(epoch.live_label, epoch, me) is None:
            secrets, tag = self._finish(epoch, me, fetch)
            body = Confirm(epoch=epoch.id, tag=tag).to_bytes()
            self._rows.put([("confirm", epoch.digest, body)])
            self._vault.save(epoch.live_label, secrets)
            self._live[epoch.digest] = secrets
        # Also after a crash in between: what dealing left behind goes before the confirmation does.
        self._vault.destroy(epoch.digest)
        self._drop_deals(epoch)
        return self._post("confirm", body)

    def _drop_deals(self, epoch: Epoch) -> None:
        for to in range(1, epoch.members + 1):
            key = epoch.digest + item_int("receiver", to)
            if self._rows.get("deal", key) is not None:
                self._rows.erase("deal", key)

    def _finish(self, epoch: Epoch, me: int, fetch: Fetch) -> tuple[Secrets, bytes]:
        secrets = self._dealing(epoch, me)
        try:
            for sender in range(1, epoch.members + 1):
                if sender != me:
                    envelope = fetch(epoch.deals[sender, me].attachment)
                    info = epoch.deal_info(sender, me)
                    self._unusable[epoch.digest] = (sender, "deal")
                    secrets.receive(sender, hello=epoch.hello_of(sender), info=info, envelope=envelope)
                    self._unusable.clear()
            return secrets, secrets.finish(epoch.id, epoch.roster_hash)
        except FedAnomalyError:
            secrets.close()  # it is tried again at every look at the log: nothing may pile up
            raise

    def _dealing(self, epoch: Epoch, me: int) -> Secrets:
        secrets = self._load(epoch.digest, epoch, me)
        if secrets is None:
            raise RefusedError(
                "this node does not hold the secrets of the key epoch", hint="start a new key epoch at the coordinator"
            )
        return secrets

    def _check_roster(self, epoch: Epoch) -> None:
        if self._rows.get("roster", epoch.digest) != epoch.roster_hash:
            raise ProtocolError("the roster is not the one that this node accepted")
