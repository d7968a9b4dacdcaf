import pytest

from fedanomaly.errors import ConfigError
from fedanomaly.node.config import NodeConfig, PolicyFile, read_toml
from fedanomaly.node.templates import NODE_TOML, POLICY_TOML
from fedanomaly.protocol import Policy


def test_the_files_as_written_hold_exactly_the_defaults(tmp_path):
    (tmp_path / "node.toml").write_text(NODE_TOML)
    (tmp_path / "policy.toml").write_text(POLICY_TOML)

    assert read_toml(tmp_path / "node.toml", NodeConfig) == NodeConfig()
    assert read_toml(tmp_path / "policy.toml", PolicyFile).policy() == Policy()


def test_every_setting_of_the_policy_reaches_the_protocol(tmp_path):
    (tmp_path / "policy.toml").write_text(
        'min_members = 5\nmin_threshold = 3\ndetectors = ["loda"]\ndatasets = ["payments"]\nmax_upload_bytes = 1000\n'
    )

    assert read_toml(tmp_path / "policy.toml", PolicyFile).policy() == Policy(
        min_members=5, min_threshold=3, detectors=("loda",), datasets=("payments",), max_message_bytes=1000
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("api_port = 70000", "api_port"),
        ('api_port = "seven"', "api_port"),
        ("host = '0.0.0.0'", "host"),
        ("= 3", "not TOML"),
        ("poll_wait_s = 0.0", "poll_wait_s"),
    ],
)
def test_an_impossible_setting_is_named(tmp_path, text, said):
    (tmp_path / "node.toml").write_text(text)

    with pytest.raises(ConfigError, match=said):
        read_toml(tmp_path / "node.toml", NodeConfig)


def test_a_missing_file_is_said_with_what_to_do(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_toml(tmp_path / "node.toml", NodeConfig)

    assert caught.value.hint == "run: fedanomaly node init"


def test_a_policy_cannot_go_below_what_the_protocol_demands(tmp_path):
    (tmp_path / "policy.toml").write_text("min_members = 2")

    with pytest.raises(ConfigError, match="below 3"):
        read_toml(tmp_path / "policy.toml", PolicyFile).policy()


def test_the_environment_wins_over_the_file(tmp_path, monkeypatch):
    (tmp_path / "node.toml").write_text("api_port = 7420\n")
    monkeypatch.setenv("FEDANOMALY_NODE_API_PORT", "0")

    assert read_toml(tmp_path / "node.toml", NodeConfig).api_port == 0


def test_the_policy_as_written_shows_every_setting():
    """The first of all defences against members that the coordinator made up is one that people must know of."""
    written = {line.partition(" = ")[0] for line in POLICY_TOML.splitlines() if " = " in line and line[0] != "#"}

    assert written == set(PolicyFile.model_fields)
