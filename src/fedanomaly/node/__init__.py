"""The node of one organisation: keys, data, ledger, training, models, loopback API."""
