"""The settings files of a new home, as their owner first reads them."""

NODE_TOML = """\
# Settings of this node. Changes count from its next start.

# Port of the loopback API (127.0.0.1 only); 0 picks a free one.
api_port = 7420

# PEM file of the authorities to trust for the coordinator's certificate. Empty: the one that came at
# enrolment (ca.pem here), else those of the system.
ca = ""

# Seconds that one request for news waits at the coordinator.
poll_wait_s = 20.0

# "text" for people, "json" for machines.
log_format = "text"

# The least that is logged: "debug", "info", "warning" or "error".
log_level = "info"
"""

POLICY_TOML = """\
# What this node accepts, whatever the coordinator says. Changes count from its next start.

# Smallest federation, and smallest number of members who could together open a contribution.
min_members = 3
min_threshold = 2

# Public keys (hex) that a roster may hold; empty: whoever the coordinator enrolled. A coordinator that enrols
# members of its own making is one of them with every one of them: pin the keys unless you trust it to invite.
# Every organisation reads out its own (`identity` of: fedanomaly node status --json), over another channel.
identities = []

# Detectors and local data sets that may take part; empty: all. Where detectors are listed, "evaluation" is
# wanted among them for models to be evaluated. Detectors of other packages take part only where they are listed.
detectors = []
datasets = []

# Largest encrypted contribution to one round.
max_upload_bytes = 256_000_000

# URL of a scoring service: rows that this node is asked to score are scored there, encrypted, and not here; and
# the PEM file of the authorities to trust for it, if not those of the system. Empty: rows are scored here.
score_remotely = ""
score_remotely_ca = ""

# Whether rows are scored here while that service is away or cannot compute the model. If not, that is an error.
score_remotely_or_here = false

# Whether scoring services get models encrypted, so that they learn no weights. What cannot be hidden (models that
# score by polynomials) they cannot compute. Holds for `fedanomaly score --encrypted` too.
score_remotely_hide_model = false
"""
