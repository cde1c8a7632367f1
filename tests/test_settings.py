"""Sources of settings: which wins, what their forms are, and what a mistake is told."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kissvdb.config import Config, Server, Storage
from kissvdb.errors import ConfigError
from kissvdb.settings import AMBIGUOUS, SETTINGS, Flag, Loaded, describe, load, parse_size
from kissvdb.sources import FILE_BYTES_MAX


@pytest.fixture
def read(tmp_path: Path):
    """Load with files in a directory of its own: ``toml`` and ``dotenv`` are their texts."""

    def read(
        toml: str | None = None,
        dotenv: str | None = None,
        flags: dict[str, str] | None = None,
        **env,
    ) -> Loaded:
        file = tmp_path / "test.toml"
        if toml is not None:
            file.write_text(toml, encoding="utf-8")
        if dotenv is not None:
            (tmp_path / ".env").write_text(dotenv, encoding="utf-8")
        return load(
            [Flag(name, text, "flag --set") for name, text in (flags or {}).items()],
            config_file=None if toml is None else str(file),
            environ=env,
            directory=tmp_path,
        )

    return read


def test_without_any_source_every_setting_is_its_default(read):
    loaded = read()
    assert loaded.config == Config()
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.notices == ()


def test_each_source_wins_over_the_one_before(read, tmp_path):
    toml, dotenv = "[server]\nport = 1\n", "# mine\nPORT_RUST_KISS_VDB=2\n"
    key = "server.port"

    def outcome(loaded: Loaded) -> tuple[int, str]:
        return loaded.config.server.port, loaded.origins[key]

    assert outcome(read(toml)) == (1, f"{tmp_path}/test.toml:2")
    assert outcome(read(toml, dotenv)) == (2, ".env:2 PORT_RUST_KISS_VDB")
    env = {"PORT_LUMA_VDB": "3"}
    assert outcome(read(toml, dotenv, **env)) == (3, "environment PORT_LUMA_VDB")
    assert outcome(read(toml, dotenv, {key: "4"}, **env)) == (4, "flag --set")


def test_the_last_of_a_repeated_flag_wins():
    flags = [Flag("search.threads", str(number), f"flag {number}") for number in (1, 2)]
    loaded = load(flags, environ={}, directory=Path("/nonexistent"))
    assert loaded.config.search.threads == 2
    assert loaded.origins["search.threads"] == "flag 2"


@pytest.mark.parametrize("where", ["environ", "dotenv"])
def test_the_config_file_may_be_named_by_a_variable(tmp_path, where):
    file = tmp_path / "a.toml"
    file.write_text("[state]\nshards = 3\n")
    if where == "dotenv":
        (tmp_path / ".env").write_text(f"KISSVDB_CONFIG={file}\n")
    environ = {"KISSVDB_CONFIG": str(file)} if where == "environ" else {}
    assert load(environ=environ, directory=tmp_path).config.state.shards == 3


@pytest.mark.parametrize("long", [True, False], ids=["section_and_field", "field"])
@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_setting_has_a_long_and_a_short_variable_of_its_own(read, name, long):
    row = SETTINGS[name]
    other = {
        int: str(row.rule.least),
        bool: str(not row.default).lower(),
    }.get(row.kind) or {
        "logs.level": "error",
        "logs.format": "json",
        "server.bind": "::1",
        "server.cors_allowed_origins": "https://example.org, https://example.com",
        "server.hosts": "example.org, example.com",
        "server.unknown_fields": "ignore",
        "server.trusted_proxies": "10.0.0.0/8, ::1",
        "embedder.kind": "openai",
        "embedder.base_url": "http://127.0.0.1:1/v1",
        "telemetry.otlp_endpoint": "http://127.0.0.1:4318",
    }.get(name, "other")
    variable = f"KISSVDB_{name if long or row.field in AMBIGUOUS else row.field}".upper().replace(
        ".", "_"
    )
    loaded = read(**{variable: other})
    assert getattr(getattr(loaded.config, row.section), row.field) == row.parse(other)
    assert loaded.origins[name] == f"environment {variable}"


def test_the_seeds_variables_are_read_and_the_stronger_name_wins(read):
    config = read(
        BIND_ADDR="127.0.0.2",
        PORT_RUST_KISS_VDB="1",
        PORT_LUMA_VDB="2",
        RUSTKISS_API_KEY="strong",
        API_KEY="weak",
        DATA_DIR="/elsewhere",
        MAX_BODY_BYTES="2MiB",
        CORS_ALLOWED_ORIGINS="https://a.example , https://b.example",
    ).config
    assert config.server == Server(
        bind="127.0.0.2",
        port=1,
        api_key="strong",
        cors_allowed_origins=("https://a.example", "https://b.example"),
    )
    assert config.storage.data_dir == "/elsewhere"
    assert config.limits.body_bytes_max == 2 * 2**20


def test_the_seeds_variables_without_a_meaning_are_named_in_a_notice(read):
    loaded = read(dotenv="RUSTKISS_API_KEY=\nINDEX_KIND=FLAT\nEDITOR=vi\n", SIMD_ENABLED="1")
    assert loaded.config == Config()
    assert loaded.notices == (
        "INDEX_KIND is accepted and has no effect here yet",
        "SIMD_ENABLED is accepted and has no effect here yet",
    )


def test_an_empty_variable_counts_as_not_set(read):
    loaded = read('[server]\napi_key = "k"\n', RUSTKISS_API_KEY="", API_KEY="", DATA_DIR="")
    assert loaded.config.server.api_key == "k"
    assert loaded.config.storage == Storage()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("true", True), ("1", True), ("Yes", True), ("ON", True)),
        *(("false", False), ("0", False), ("no", False), (" off ", False)),
    ],
)
def test_booleans_are_read_from_their_usual_words(read, text, value):
    assert read(KISSVDB_HTTP_LANE=text).config.http.lane is value


@pytest.mark.parametrize(
    ("text", "size"),
    [("65536", 65536), ("64KiB", 2**16), ("64 mib", 2**26), ("1GiB", 2**30), ("2MB", 2_000_000)],
)
def test_sizes_have_units(read, text, size):
    assert parse_size(text) == size
    assert read(f'[stream]\nring_bytes_max = "{text}"\n').config.stream.ring_bytes_max == size


def test_a_star_means_any_origin(read):
    assert read(CORS_ALLOWED_ORIGINS="*").config.server.cors_allowed_origins == ("*",)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            "[server]\nprot = 1\n",
            r"server.prot is not a setting .*:2\); did you mean server.port\?",
        ),
        ("[sever]\nport = 1\n", r"sever is not a section .*:1\); did you mean server\?"),
        ("[sever]\n", r"sever is not a section .*:1\); did you mean server\?"),
        ("port = 1\n", r"port is not a setting .*:1\); did you mean server.port\?"),
        ("server = 1\n", r"server must be a section .*:1\)"),
        ("[server.tls]\non = true\n", r"server.tls is not a section"),
        ('[server]\nport = "5"\n', r"server.port must be an integer, not the string '5' .*:2\)"),
        ("[server]\nport = 5.0\n", r"must be an integer, not the number 5.0"),
        ("[server]\nport = true\n", r"must be an integer, not the boolean True"),
        ("[server]\nunsafe_bind = 1\n", r"server.unsafe_bind must be true or false, not 1"),
        ("[server]\nbind = 1\n", r"server.bind must be a string, not the integer 1"),
        ('[server]\nbind = "a b"\n', r"server.bind must be an IP address or a host name"),
        (
            "[server]\ncors_allowed_origins = 'x'\n",
            r"must be a list of strings, not the string 'x'",
        ),
        ("[server]\ncors_allowed_origins = ['x']\n", r"must be origins such as .* not 'x'"),
        ("[server]\nhosts = ['a:9917']\n", r"must be host names .* without a port, not 'a:9917'"),
        ("[log]\nsegment_max_bytes = 1\n", r"must be between 1048576 and 17179869184, not 1 "),
        ("[log]\nsegment_max_bytes = '1 TB'\n", r"a size such as 64MiB, not '1 TB' .*:2\)"),
        ("[logs]\nlevel = 'loud'\n", r"must be one of debug, .*critical, not 'loud'"),
        ("[storage]\ndata_dir = ''\n", r"storage.data_dir must be a path, not ''"),
        ("[server\n", r"is not TOML: .*line 1"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line_and_what_is_allowed(read, toml, message):
    with pytest.raises(ConfigError, match=message):
        read(toml)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"STATE_SHARDS": "65"}, r"between 1 and 64, not 65 \(from: environment STATE_SHARDS\)"),
        ({"STATE_SHARDS": "two"}, r"state.shards must be an integer, not 'two'"),
        ({"STATE_SHARDS": "1_0"}, r"state.shards must be an integer, not '1_0'"),
        ({"KISSVDB_HTTP_LANE": "maybe"}, r"http.lane must be true or false, not 'maybe'"),
        ({"KISSVDB_PORT": "many"}, r"an integer, not 'many' \(from: environment KISSVDB_PORT\)"),
    ],
)
def test_a_mistake_in_the_environment_is_named_with_its_variable(read, env, message):
    with pytest.raises(ConfigError, match=message):
        read(**env)


def test_a_mistake_is_found_even_where_a_stronger_source_would_win(read):
    with pytest.raises(ConfigError, match="STATE_SHARDS"):
        read(flags={"state.shards": "2"}, STATE_SHARDS="none")


def test_an_unknown_flag_name_suggests_the_nearest(read):
    with pytest.raises(ConfigError, match=r"did you mean limits.k_max\?"):
        read(flags={"limit.kmax": "5"})


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    def refused(content: bytes | None, message: str) -> None:
        file = tmp_path / "bad.toml"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            load(config_file=str(file), environ={}, directory=tmp_path)

    refused(None, "cannot read .*bad.toml: No such file")
    refused(b"# \xff\n", "is not UTF-8 at byte 2")
    refused(b"#" * (FILE_BYTES_MAX + 1), "larger than 1048576 bytes")


def test_no_two_settings_share_a_variable():
    names = [name for row in SETTINGS.values() for name in row.environment_names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("dotenv", [True, False])
def test_an_unknown_variable_is_a_notice_with_the_nearest_name_and_nothing_else(read, dotenv):
    value = {"KISSVDB_SERVER_PROT": "1", "KISSVDB_UNSET": ""}
    # What clients on the same machine are told.
    value |= {"KISSVDB_URL": "http://x", "KISSVDB_KEY": "y", "KISSVDB_TIMEOUT": "3"}
    text = "".join(f"{name}={text}\n" for name, text in value.items())
    loaded = read(dotenv=text) if dotenv else read(**value)
    assert loaded.config == Config()
    (notice,) = loaded.notices
    origin = ".env:1" if dotenv else "environment"
    assert f"(from: {origin} KISSVDB_SERVER_PROT); did you mean KISSVDB_SERVER_PORT?" in notice


@pytest.mark.parametrize("service", ["", "SERVER_", "MY_OWN_"])
def test_variables_that_an_orchestrator_makes_for_a_service_of_our_name_are_one_notice(
    read, service
):
    made = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "9917",
        "SERVICE_PORT_HTTP": "9917",
        "PORT": "tcp://10.0.0.1:9917",
        "PORT_9917_TCP": "tcp://10.0.0.1:9917",
        "PORT_9917_TCP_PROTO": "tcp",
        "PORT_9917_TCP_PORT": "9917",
        "PORT_9917_TCP_ADDR": "10.0.0.1",
    }
    loaded = read(**{f"KISSVDB_{service}{name}": value for name, value in made.items()})
    assert loaded.config == Config()
    (notice,) = loaded.notices
    assert f"KISSVDB_{service}PORT, KISSVDB_{service}PORT_9917_TCP, " in notice
    assert "an orchestrator" in notice


def test_a_services_port_does_not_hide_a_weaker_name_that_is_a_setting(read):
    loaded = read(KISSVDB_PORT="tcp://10.0.0.1:9917", PORT_RUST_KISS_VDB="9000")
    assert loaded.config.server.port == 9000


def test_what_is_read_before_any_setting_counts_in_the_environment_only(read):
    loaded = read(KISSVDB_CPU="portable")
    assert (loaded.config, loaded.notices) == (Config(), ())
    (notice,) = read(dotenv="KISSVDB_CPU=portable\n").notices
    assert "KISSVDB_CPU is not a setting" in notice


def test_a_form_of_the_kernels_that_there_is_not_is_refused(read):
    assert read(KISSVDB_CPU="").notices == ()
    with pytest.raises(ConfigError, match=r"KISSVDB_CPU .*native, portable, avx2.* 'prtable'"):
        read(KISSVDB_CPU="prtable")


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_open_address_without_a_key_is_refused_unless_it_is_called_unsafe(read, bind):
    with pytest.raises(ConfigError, match=r"unsafe-bind.*\(server.bind is from: environment BIND"):
        read(BIND_ADDR=bind)
    assert read(BIND_ADDR=bind, API_KEY="k").notices == ()
    (notice,) = read(flags={"server.unsafe_bind": "true"}, BIND_ADDR=bind).notices
    assert "without an API key" in notice


def test_the_api_key_is_never_shown(read):
    loaded = read(API_KEY="hunter2", RUSTKISS_API_KEY="")
    assert loaded.config.server.api_key == "hunter2"
    assert "hunter2" not in repr(loaded)
    assert "hunter2" not in "\n".join(describe(loaded))
    for toml in ("api_key = 'hunter2 hunter2'", "api_key = ['hunter2']"):
        with pytest.raises(ConfigError, match=r"server.api_key must be") as refused:
            read(f"[server]\n{toml}\n")
        assert "hunter2" not in refused.value.message


def values_of(row) -> st.SearchStrategy:
    if row.kind is int:
        return st.integers(row.rule.least, row.rule.most)
    if row.kind is bool:
        return st.booleans()
    if row.rule.choices:
        return st.sampled_from(row.rule.choices)
    return {
        "server.bind": st.ip_addresses().map(str),
        "server.api_key": st.just(""),
        "server.cors_allowed_origins": st.just(("https://a.example", "https://b.example")),
        "server.hosts": st.just(("db.example.org", "b")),
        "server.trusted_proxies": st.just(("10.0.0.0/8", "::1")),
        "embedder.model": st.from_regex(r"[\x21-\x7e]{1,200}", fullmatch=True),
        "embedder.query_model": st.just("e5-query"),
        "embedder.query_prefix": st.just("query: "),
        "embedder.passage_prefix": st.just("passage: "),
        "embedder.path": st.just("models/mine"),
        "embedder.base_url": st.just("https://embeddings.example/v1"),
        "embedder.key_variable": st.just("EMBEDDINGS_KEY"),
        "telemetry.otlp_endpoint": st.just("http://127.0.0.1:4318"),
        "storage.data_dir": st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
        ),
    }[row.name]


def as_text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


# The first run of a checkout makes tables of characters, for seconds on a machine that is busy.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.fixed_dictionaries({}, optional={n: values_of(r) for n, r in SETTINGS.items()}))
def test_what_config_prints_is_toml_that_means_the_same(tmp_path_factory, values):
    directory = tmp_path_factory.getbasetemp()
    values = {**values, "server.unsafe_bind": True}
    flags = [Flag(name, as_text(value), "flag --set") for name, value in values.items()]
    loaded = load(flags, environ={}, directory=directory)
    for name, value in values.items():
        row = SETTINGS[name]
        assert getattr(getattr(loaded.config, row.section), row.field) == value
    file = directory / "printed.toml"
    file.write_text("\n".join(describe(loaded)), encoding="utf-8")
    assert load(config_file=str(file), environ={}, directory=directory).config == loaded.config


def test_each_embedder_of_its_own_name_is_a_section(read):
    text = '[embedder]\nmodel_threads = 2\n[embedders.far]\nkind = "openai"\nmodel = "m"\n'
    loaded = read(text + 'base_url = "http://h/v1"\ndimensions = 8\ncache_bytes_max = "1MiB"\n')
    far = loaded.config.embedders["far"]
    assert (far.kind, far.dimensions, far.cache_bytes_max, far.model_threads) == (
        "openai",
        8,
        2**20,
        1,
    )
    assert loaded.config.embedder.model_threads == 2
    printed = list(describe(loaded))
    assert "\n[embedders.far]" in printed
    assert next(line for line in printed if line.startswith("dimensions = 8")).endswith("toml:7")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[embedders.far]\nkin = 1\n", "embedders.far.kin is not a setting"),
        ("[embedders.default]\nkind = 'local'\n", r"the one called default is \[embedder\] itself"),
        ("[embedders]\nfar = 1\n", "embedders.far must be a section"),
        ("[embedders.'a b']\nkind = 'local'\n", "embedders.a b is not a section"),
        ("[embedders.far]\nkind = 'remote'\n", "embedders.far.kind must be one of local, openai"),
        ("[embedders.far]\nbase_url = 'http://u:p@h/'\n", "embedders.far.base_url must be an http"),
    ],
)
def test_a_wrong_section_of_an_embedder_is_named(read, text, message):
    with pytest.raises(ConfigError, match=message):
        read(text)
