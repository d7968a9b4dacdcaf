"""What each code means in practice: causes, what to do, and an example.

The text of `fedanomaly explain` and of the pages in docs/reference/errors.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to say about a code beside what its class says.

    Parameters
    ----------
    causes : tuple of str
        What typically lies behind it, the commonest first.
    steps : tuple of str
        What to do, in this order.
    message, hint : str
        An error as it may be printed.
    """

    causes: tuple[str, ...]
    steps: tuple[str, ...]
    message: str
    hint: str | None = None


ADVICE = {
    "FA000": Advice(
        causes=(
            "A defect of this software: something happened that nobody thought of.",
            "In Python it is the base of all other errors: catch `FedAnomalyError` to catch every one of them.",
        ),
        steps=(
            "Look into the log of the service that answered; it names the kind of the failure.",
            "Report it with that line. The text of the failure itself is left out, since it may quote a row.",
        ),
        message="the request could not be carried out",
    ),
    "FA100": Advice(
        causes=(
            "A setting is missing, unknown or of the wrong kind.",
            "A file or folder that a setting or an option names cannot be used.",
            "The command was run on another home than was meant.",
        ),
        steps=("Change what the message names, then start again. Nothing was sent or written.",),
        message="/srv/node is not the home of a node",
        hint="run: fedanomaly node init",
    ),
    "FA101": Advice(
        causes=(
            "The passphrase is wrong.",
            "Others may read the keystore, the token or the passphrase file, or may write in the home.",
            "A file that the keystore protects was changed, removed, or comes from another home.",
        ),
        steps=(
            (
                "Check the passphrase, and that the home belongs to the user of the node: `chmod 700` for the home, "
                "`chmod 600` for the files in it."
            ),
            (
                "A keystore that does not open cannot be repaired: restore the home from its backup "
                "(`fedanomaly node restore`)."
            ),
        ),
        message="others may read or write keystore.json",
        hint="run: chmod 600 /srv/node/keystore.json",
    ),
    "FA102": Advice(
        causes=("The node of this home runs already.", "A service manager starts it while it runs in a terminal."),
        steps=(
            "Leave it running, or stop it before you start another.",
            "Never copy a home to run it twice: two copies could answer twice, and members refuse that.",
        ),
        message="another process runs the node of /srv/node",
        hint="stop it first; two processes on one ledger could answer twice",
    ),
    "FA200": Advice(
        causes=(
            "A file is missing, empty, damaged, or of a kind that is not read here.",
            "A CSV file has another delimiter or another encoding than its suffix says.",
            "A parameter of a detector is unknown or out of its range.",
        ),
        steps=("Correct the file or the value that the message names. Nothing left this machine.",),
        message="october.xlsx is of no kind that is read here",
        hint="known: .csv, .csv.gz, .csv.bz2, .csv.zst, .tsv, .parquet, .pq, .arrow, .feather, .ipc",
    ),
    "FA201": Advice(
        causes=(
            "An array has another number of columns than the detector was fitted on.",
            "A one-dimensional array was given where rows and columns are due.",
        ),
        steps=("Compare the array with the shape in the docstring; columns have the order of the schema.",),
        message="x has 3 features, but the detector was fitted on 4",
    ),
    "FA202": Advice(
        causes=(
            "A column of the schema is missing, there twice, or of another type.",
            "A reading lies outside the bounds that the schema declares, or is infinite.",
            "The schema file is no schema.",
        ),
        steps=(
            "Run `fedanomaly schema check FILE --schema SCHEMA`; it names every column that does not fit.",
            "Correct the data. If the schema is wrong, correct it at every member: all need the very same file.",
        ),
        message="column 'amount' holds readings outside its bounds",
        hint="correct the data, or the schema at every member",
    ),
    "FA203": Advice(
        causes=(
            "The readings of a batch lie so far from what the model knows that its scores do not fit the ciphertext.",
            "A service returned something else than the scores of the batch.",
        ),
        steps=(
            "Score these rows locally, or in smaller batches: the mean of a batch counts, not a single row.",
            "If ordinary rows give it, do not use the service any more.",
        ),
        message="the outputs of a batch left the range of its answer",
        hint="score these rows on this machine",
    ),
    "FA300": Advice(
        causes=("A check of the cryptographic engine failed; the message says in which step.",),
        steps=("The round is void and is tried again by itself.", "If it comes again, report it with the log line."),
        message="the engine failed: internal error",
    ),
    "FA301": Advice(
        causes=(
            "The bytes were damaged on their way, or cut.",
            "The other side runs another version, or is no node and no coordinator at all.",
            "An invitation was not copied as a whole.",
        ),
        steps=(
            "Copy an invitation again, the whole line.",
            "If it comes again from the same sender, compare `fedanomaly --version` on both sides.",
        ),
        message="the invitation is damaged",
        hint="copy the whole line again",
    ),
    "FA302": Advice(
        causes=(
            "A decryption share or a contribution was wrong, damaged or missing.",
            "Every cause gives this same answer, because a distinguishable one would be an oracle.",
        ),
        steps=(
            "Nothing: the round is void, its members know no more than before it, and the step is tried again.",
            "If it comes again, a member or the coordinator does not follow the protocol: compare the members' logs.",
        ),
        message="rejected",
    ),
    "FA303": Advice(
        causes=(
            "The sums of a step do not fit its ciphertexts: bounds too wide, resolution too fine, too many rows.",
            "A request or an attachment is larger than the coordinator takes.",
            "The key epoch has used up its quota.",
        ),
        steps=(
            (
                "Narrow the bounds of the step, coarsen its resolution, or use fewer members; "
                "`fedanomaly cost` tells before a job what it needs."
            ),
            "Send rows to be scored in parts.",
            "After a used-up quota a new key epoch begins by itself: wait for it.",
        ),
        message="at most 268435456 bytes are scored at once",
        hint="send the rows in parts",
    ),
    "FA400": Advice(
        causes=(
            "A peer sent what the protocol does not allow at this point.",
            "Another coordinator answers at the address than the one that was pinned at enrolment.",
        ),
        steps=(
            "Do not repeat the request: the same bytes are refused again.",
            "Read the log: it names the sender and the rule.",
        ),
        message="another coordinator answers at this URL",
        hint="ask it for a new invitation",
    ),
    "FA401": Advice(
        causes=(
            "A node runs twice, or was restored from a backup while the old one still runs.",
            "A peer sends something again that counts once.",
        ),
        steps=(
            "Stop the copy.",
            "A node that was restored takes part again once its data sets have new rows.",
        ),
        message="this job was asked for before",
    ),
    "FA402": Advice(
        causes=(
            "The policy of this node (`policy.toml`) does not allow the job.",
            "A rule that protects the rows forbids it: too few members, or an earlier sum that is not settled yet.",
        ),
        steps=(
            "Read the rule in the message, or in the log of the member that declined.",
            "If the policy is too narrow for a job that you want, change `policy.toml` and start the node again.",
        ),
        message="the policy of this node asks for 5 members at least",
        hint="see min_members in policy.toml",
    ),
    "FA403": Advice(
        causes=("The two sides run versions that do not know each other's format.",),
        steps=("Compare `fedanomaly --version` on both sides, and upgrade the older one.",),
        message="the invitation is of an unknown version",
        hint="upgrade this side",
    ),
    "FA404": Advice(
        causes=("A name or an id is misspelt.", "A model or a snapshot was replaced by newer ones."),
        steps=("Look it up: `fedanomaly models`, `fedanomaly data list` and `fedanomaly node status` list them.",),
        message="there is no model paymants",
        hint="fedanomaly models lists them",
    ),
    "FA405": Advice(
        causes=(
            "The coordinator was restored from a backup that is older than what its members have seen.",
            "The coordinator rewrote its log, or shows different logs to different members.",
        ),
        steps=(
            "The node does nothing until the log goes on from where it was.",
            "Restore a newer backup of the coordinator (docs/how-to/back-up-and-restore.md), or found a new one.",
        ),
        message="this node has seen 120 entries of the log; the coordinator's has 80 entries",
        hint="if the coordinator was restored: restore a newer backup of it, or found a new federation",
    ),
    "FA406": Advice(
        causes=(
            "The clock of a node is wrong: a signature is good for about a minute.",
            "The token that a program sends to a node's API is not that of the node's home.",
            "The sender is not enrolled here, or somebody replays what was sent before.",
        ),
        steps=(
            "Set the clock, best by NTP.",
            "Read the token again from the file `token` of the home.",
            "Compare the federation in `fedanomaly node status` with that of the coordinator.",
        ),
        message="the coordinator answered: the request is not signed as it must be",
        hint="by this service's clock the request was signed 3600 s ago: set your clock",
    ),
    "FA407": Advice(
        causes=(
            "The invitation was used before, or has expired.",
            "It was made for another name, or an organisation of that name is enrolled already.",
            "This node is enrolled already: an identity enrols once.",
        ),
        steps=("Ask the coordinator's operator for a new one: `fedanomaly coordinator invite NAME`.",),
        message="the coordinator answered: the invitation does not admit this node",
        hint="the invitation was used before; ask the coordinator's operator for a new one",
    ),
    "FA408": Advice(
        causes=(
            "Rows that are to be summed were summed before, together with other members than now: one is away, or new.",
            (
                "Some members, too few to hide each other, have rows besides those that were summed before, "
                "in one piece or in parts (a training and its refreshes)."
            ),
        ),
        steps=(
            (
                "Wait for who is away, if it was in the earlier sums, and ask again: the same members over the "
                "same rows may train as often as they like."
            ),
            "Or add new rows at every member (`fedanomaly data add NAME FILE`), and ask again.",
        ),
        message="a sum over these rows and another set was opened before",
        hint="add new rows, at every member; or train with the members of before",
    ),
    "FA500": Advice(
        causes=(
            "The other service does not run, or a network lies between.",
            "A service is stopping, or busy.",
            "The disk of the other side is full: the write was not taken.",
        ),
        steps=(
            "Nothing, for a node that runs: it tries again by itself and goes on where it was.",
            "For a command: start the service that the hint names, then run the command again; that is always safe.",
        ),
        message="no node runs on /srv/node",
        hint="run: fedanomaly node run",
    ),
    "FA501": Advice(
        causes=(
            "The certificate has expired, is for another name, or comes from an authority that is not trusted here.",
            "A clock is wrong.",
        ),
        steps=(
            (
                "Nothing was sent. Do what the hint says: renew the certificate, trust the right authority "
                "(`--ca` when enrolling, `ca` in node.toml, or `SSL_CERT_FILE`), or set a clock."
            ),
            "A node that runs tries again by itself.",
        ),
        message="the certificate of coordinator.example does not hold: it has expired",
        hint="renew it: fedanomaly coordinator tls renew",
    ),
    "FA502": Advice(
        causes=(
            "The file system that the home lies on is full, has no inodes left, or is mounted read-only.",
            "A quota is used up, or the disk fails.",
        ),
        steps=(
            "Make room where the message says, or move the home to a larger file system while its service is stopped.",
            "Nothing half-written is left, and a service that runs goes on by itself once there is room.",
            "A command: run it again.",
        ),
        message="the ledger did not take the write: database or disk is full",
        hint="make room there, or mount it writable; it goes on by itself",
    ),
    "FA600": Advice(
        causes=(
            "Too few members took part: some were away, or declined.",
            "The members' data sets have different schemas, or none of that name.",
            "Members did not agree on the result.",
        ),
        steps=(
            "Read the reason, and the log of the nodes that the hint names: why a member declined stays with it.",
            "Ask again once that is mended; it is a new job.",
        ),
        message="job 712e88bfc7f8 ended void: too few members",
        hint="the log of the node of east says what it declined for; then ask again",
    ),
}
"""By code."""
