"""Env files: which one is read, what its lines may be, and whose it is."""

from pathlib import Path

import pytest

from kissvdb.config import Config
from kissvdb.errors import ConfigError
from kissvdb.settings import Loaded, load
from kissvdb.sources import FILE_BYTES_MAX


@pytest.fixture
def read(tmp_path: Path):
    """Load with this ``.env``, and nothing else, in the working directory."""

    def read(dotenv: str) -> Loaded:
        (tmp_path / ".env").write_text(dotenv, encoding="utf-8")
        return load(environ={}, directory=tmp_path)

    return read


def test_dotenv_lines_may_have_quotes_comments_and_export(read):
    loaded = read(
        dotenv="\n".join(
            [
                "# a comment",
                "export DATA_DIR='a # b'  # why",
                'KISSVDB_SERVER_API_KEY="x=y"',
                "KISSVDB_LOGS_LEVEL = debug # less later",
                "SOMEBODY_ELSES='unclosed",
                "not a setting at all",
                "KISSVDB_SEARCH_THREADS=#nothing",
            ]
        )
    )
    assert loaded.config.storage.data_dir == "a # b"
    assert loaded.config.server.api_key == "x=y"
    assert loaded.config.logs.level == "debug"
    assert loaded.origins["search.threads"] == "default"


@pytest.mark.parametrize(
    ("dotenv", "message"),
    [
        ("KISSVDB_PORT=1\nSTATE_SHARDS=0\n", r"must be between .*\(from: .env:2 STATE_SHARDS\)"),
        ("KISSVDB_API_KEY='abc\n", r"a quote is not closed \(from: .env:1 KISSVDB_API_KEY\)"),
    ],
)
def test_a_mistake_in_dotenv_is_named_with_its_line(read, dotenv, message):
    with pytest.raises(ConfigError, match=message):
        read(dotenv=dotenv)


ANOTHERS = "API_KEY=theirs\nDATA_DIR=/srv/uploads\nBIND_ADDR=0.0.0.0\nPORT=80\n"


def test_the_dotenv_of_another_program_is_left_alone_and_that_is_said(read):
    loaded = read(dotenv=ANOTHERS)
    assert loaded.config == Config()
    assert set(loaded.origins.values()) == {"default"}
    (notice,) = loaded.notices
    assert notice.startswith(".env in the working directory is left alone: ")
    assert "--env-file .env" in notice


@pytest.mark.parametrize("content", [b"KISSVDB_PORT=1\n\xff\n", b"#" * (FILE_BYTES_MAX + 1)])
def test_a_dotenv_that_nobody_could_read_is_left_alone_unless_it_is_named(tmp_path, content):
    (tmp_path / ".env").write_bytes(content)
    loaded = load(environ={}, directory=tmp_path)
    assert loaded.config == Config()
    assert len(loaded.notices) == 1
    with pytest.raises(ConfigError, match=r"\.env"):
        load(env_file=str(tmp_path / ".env"), environ={})


@pytest.mark.parametrize(
    "own", ["KISSVDB_NO_SUCH=1", "RUSTKISS_API_KEY=", "PORT_RUST_KISS_VDB=1", "PORT_LUMA_VDB=1"]
)
def test_one_name_that_is_only_ours_makes_the_plain_names_in_a_dotenv_count(read, own):
    loaded = read(dotenv=f"API_KEY=k\n{own}\n")
    assert loaded.config.server.api_key == "k"
    assert loaded.origins["server.api_key"] == ".env:1 API_KEY"


def test_a_named_env_file_is_read_whatever_it_holds_and_instead_of_dotenv(tmp_path):
    (tmp_path / ".env").write_text("KISSVDB_STATE_SHARDS=9\n")
    named = tmp_path / "production.env"
    named.write_text(ANOTHERS)
    loaded = load(env_file=str(named), environ={}, directory=tmp_path)
    assert loaded.config.server.api_key == "theirs"
    assert loaded.origins["storage.data_dir"] == f"{named}:2 DATA_DIR"
    assert loaded.config.state.shards == 1
    with pytest.raises(ConfigError, match=r"cannot read .*none\.env: No such file"):
        load(env_file=str(tmp_path / "none.env"), environ={}, directory=tmp_path)
