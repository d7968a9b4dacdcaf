"""Names that nothing in `src` uses: vulture would take them for dead code.

Either a library calls or reads them, or they are what the package offers to its
users. What is offered has a test of its own; what has neither is to be deleted.
"""

# ruff: noqa: B018, F821 - names alone, read by vulture and never run

# errors: whether a retry is safe is part of the type
retry_is_safe

# fhe: facts of a layout, for who plans a federation
coefficient_bits
fields_per_coefficient
max_decryptors
set_threads

# fhe: members of an enumeration, made from numbers
AVX2
AVX512
AMX

# scoring: facts of scored events, for who uses the class
outliers


# fhe: read by weakref when the interpreter ends
atexit

# datasets
banks

# detectors: the contract of scikit-learn, and ours
allow_nan
circuit
explain
fit_batches
n_rows_
predict

# node: what pyarrow calls for Parquet modular encryption
wrap_key
unwrap_key

# node: what pydantic calls for settings
settings_customise_sources
settings_cls
dotenv_settings
file_secret_settings

# cli: what typer calls
list_commands

# detectors: what a client of a scoring service needs of a detector
combined
why_no_circuit

# scoring: what clients and releasers call
HttpExchange
make_release
offer

# services and transport: what uvicorn and http-message-signatures read or call
force_exit
handle_exit
should_exit
resolve_public_key
validate_created_and_expires

# node: fields of the loopback API's answers
connected
coordinator_url
detector_version
ended_at
feature_schema
members_wanted
model_state
opened_by
received_bytes
started_at

# simulation: a party killed and started again; the tests' faults
restart

# transport: field of the progress that a coordinator shows
voted

# cli: fields of the demo's JSON
ap
recall

# storage: what tarfile reads of a file's head
mtime

# types: numpy's flag that makes an array constant
writeable

# coordinator: called by uvicorn for what is not HTTP
send_400_response

# detectors: what code written for PyOD calls, and scikit-learn's tags
fit_predict
predict_proba
required

# transport: what asyncio calls of a protocol, and urllib3 reads of its pools
buffer_updated
get_buffer
pool_classes_by_scheme
