"""Makes the files of tests/sql/logic: ``python -m tests.sql.make_logic``.

What is expected is what another SQLite answers: the one of the standard library, which has none of
our rules, functions and limits, and is used directly.
"""

import random
import sqlite3
from pathlib import Path

from tests.sql.slt import Record, lines_of, types_of, written

LOGIC = Path(__file__).parent / "logic"

TABLES = [
    "CREATE TABLE a(id INTEGER PRIMARY KEY, n INTEGER, r REAL, t TEXT, g TEXT COLLATE NOCASE)",
    "CREATE TABLE b(id INTEGER PRIMARY KEY, a_id INTEGER, n INTEGER, t TEXT NOT NULL)",
    "CREATE INDEX b_a ON b(a_id, n)",
    "CREATE TABLE c(k TEXT PRIMARY KEY NOT NULL, v INTEGER) WITHOUT ROWID",
]
WORDS = ["ant", "Ant", "bee", "BEE ", "cow", "", "d%g", "e_l", "fox fox", "gnu", "x'y", "10", "2.5"]
NUMBERS = [0, 1, 2, -1, 3, 7, 10, -5, 100, 12345]
REALS = [0.0, 0.5, -1.25, 2.5, 100.125, -3.0]


class Maker:
    """One file: records, and the database that says what is expected of them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.records: list[Record] = []
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.execute("PRAGMA foreign_keys=ON")

    def statement(self, sql: str) -> None:
        try:
            self.db.execute(sql).fetchall()
        except sqlite3.Error:
            self.records.append(Record("error", sql))
        else:
            self.records.append(Record("ok", sql))

    def query(self, sql: str, sort: str = "nosort") -> None:
        try:
            cursor = self.db.execute(sql)
            rows = cursor.fetchall()
        except sqlite3.Error:
            return
        if any(isinstance(value, bytes) for row in rows for value in row):
            return
        types = types_of(rows, len(cursor.description))
        self.records.append(Record("query", sql, types, sort, lines_of(rows, sort)))

    def save(self, name: str) -> None:
        text = "\n".join(map(written, self.records))
        (LOGIC / f"{name}.slt").write_text(f"# Made by tests/sql/make_logic.py.\n\n{text}")

    def pick(self, *choices):
        return self.rng.choice(choices)

    def fill(self) -> None:
        rng = self.rng
        for sql in TABLES:
            self.statement(sql)
        rows = []
        for n in range(1, 31):
            values = (rng.choice([*NUMBERS, None]), rng.choice([*REALS, None]))
            rows.append(f"({n},{_sql(values[0])},{_sql(values[1])},{self.word()},{self.word()})")
        self.statement("INSERT INTO a VALUES " + ",".join(rows))
        rows = [
            f"({n},{_sql(rng.choice([*range(1, 36), None]))},{_sql(rng.choice([*NUMBERS, None]))},"
            f"{_sql(rng.choice(WORDS))})"
            for n in range(1, 41)
        ]
        self.statement("INSERT INTO b VALUES " + ",".join(rows))
        rows = [f"('k{n}',{_sql(rng.choice([*NUMBERS, None]))})" for n in range(12)]
        self.statement("INSERT INTO c VALUES " + ",".join(rows))

    # Expressions

    def word(self) -> str:
        return _sql(self.rng.choice([*WORDS, None]))

    def literal(self) -> str:
        return _sql(self.rng.choice([*WORDS, *NUMBERS, *REALS, None]))

    def expression(self, depth: int, columns: tuple[str, ...] = ()) -> str:
        if depth == 0:
            return self.pick(*columns) if columns and self.rng.random() < 0.6 else self.literal()
        x, y, z = (self.expression(self.rng.randrange(depth), columns) for _ in range(3))
        return self.pick(
            f"({x} {self.pick('+', '-', '*', '/', '%', '||')} {y})",
            f"({x} {self.pick('=', '<>', '<', '<=', '>', '>=', 'IS', 'IS NOT')} {y})",
            f"({x} {self.pick('AND', 'OR')} {y})",
            f"(NOT {x})",
            f"(- {x})",
            f"({x} {self.pick('&', '|', '<<', '>>')} {y})",
            f"({x} BETWEEN {y} AND {z})",
            f"({x} {self.pick('IN', 'NOT IN')} ({y}, {z}))",
            f"({x} {self.pick('IS NULL', 'NOTNULL')})",
            f"CASE WHEN {x} THEN {y} ELSE {z} END",
            f"CASE {x} WHEN {y} THEN {z} END",
            f"coalesce({x}, {y}, {z})",
            f"nullif({x}, {y})",
            f"ifnull({x}, {y})",
            f"{self.pick('min', 'max')}({x}, {y})",
            f"{self.pick('length', 'upper', 'lower', 'typeof', 'hex', 'quote', 'trim')}({x})",
            f"{self.pick('instr', 'trim', 'ltrim', 'rtrim')}({x}, {y})",
            f"replace({x}, {y}, {z})",
            f"substr({x}, {self.rng.randrange(-3, 4)}, {self.rng.randrange(-2, 4)})",
            f"CAST({x} AS {self.pick('INTEGER', 'REAL', 'TEXT', 'NUMERIC')})",
            f"({x} {self.pick('LIKE', 'NOT LIKE', 'GLOB')} {y})",
            f"round({x}, 1)",
            f"abs({x})",
            f"printf('%d|%s|%.2f', {x}, {y}, {z})",
        )

    def condition(self, columns: tuple[str, ...]) -> str:
        column = self.pick(*columns)
        return self.pick(
            f"{column} {self.pick('=', '<>', '<', '>', '>=')} {self.literal()}",
            f"{column} IS {self.pick('NULL', 'NOT NULL')}",
            f"{column} IN ({self.literal()}, {self.literal()}, {self.literal()})",
            f"{column} BETWEEN {self.pick(*map(str, NUMBERS))} AND {self.pick(*map(str, NUMBERS))}",
            f"{column} LIKE {self.pick(chr(39) + '%e%' + chr(39), chr(39) + 'a%' + chr(39))}",
            f"NOT ({column} = {self.literal()} OR {self.pick(*columns)} > {self.literal()})",
        )


def _sql(value: object) -> str:
    if value is None:
        return "NULL"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


A = ("a.id", "a.n", "a.r", "a.t", "a.g")
B = ("b.id", "b.a_id", "b.n", "b.t")


def expressions() -> None:
    maker = Maker(1)
    for _ in range(700):
        maker.query(f"SELECT {maker.expression(maker.rng.randrange(1, 3))}")
    maker.save("expressions")


def selects() -> None:
    maker = Maker(2)
    maker.fill()
    pick = maker.pick
    for _ in range(130):
        what, where = maker.expression(1, A), maker.condition(A)
        maker.query(f"SELECT a.id, {what} FROM a WHERE {where} ORDER BY a.id")
    for _ in range(115):
        join = pick("JOIN", "LEFT JOIN", "JOIN", "CROSS JOIN")
        on = pick("a.id = b.a_id", "a.n = b.n", "a.t = b.t", "a.g = b.t AND a.id < b.id")
        on = f"{on} AND {maker.condition((*A, *B))}" if maker.rng.random() < 0.3 else on
        columns = ", ".join(maker.rng.sample((*A, *B), 3))
        where = f" WHERE {maker.condition((*A, *B))}" if maker.rng.random() < 0.6 else ""
        maker.query(f"SELECT {columns} FROM a {join} b ON {on}{where}", "rowsort")
    for _ in range(120):
        inner = pick(
            f"a.id IN (SELECT a_id FROM b WHERE {maker.condition(B)})",
            f"EXISTS (SELECT 1 FROM b WHERE b.a_id = a.id AND {maker.condition(B)})",
            f"NOT EXISTS (SELECT 1 FROM b WHERE b.a_id = a.id AND {maker.condition(B)})",
            f"a.n > (SELECT avg(n) FROM b WHERE {maker.condition(B)})",
            f"a.n NOT IN (SELECT n FROM b WHERE {maker.condition(B)})",
            f"(a.n, a.t) IN (SELECT n, t FROM b WHERE {maker.condition(B)})",
        )
        maker.query(f"SELECT id, t FROM a WHERE {inner} ORDER BY id")
    for _ in range(90):
        both = [
            f"SELECT {pick('n', 't', 'id')} FROM {pick('a', 'b')} WHERE "
            f"{maker.condition(('n', 't', 'id'))}"
            for _ in range(2)
        ]
        maker.query(f" {pick('UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT')} ".join(both), "rowsort")
    for _ in range(80):
        order = f"{pick('n', 'r', 't', 'g')} {pick('', 'DESC', 'NULLS LAST', 'COLLATE NOCASE')}"
        limit = f"LIMIT {maker.rng.randrange(8)} OFFSET {maker.rng.randrange(4)}"
        distinct = pick("DISTINCT n, t, r, g, id", "id, t", "id, n, r")
        maker.query(f"SELECT {distinct} FROM a ORDER BY {order}, id {limit}")
    maker.save("selects")


def aggregates() -> None:
    maker = Maker(3)
    maker.fill()
    pick = maker.pick

    def aggregate() -> str:
        column = pick("n", "r", "t", "id")
        shown = pick("count({})", "min({})", "max({})", "count(DISTINCT {})", "total({})")
        number = pick("sum({})", "avg({})", "sum(DISTINCT {})")
        what = number.format(pick("n", "id")) if maker.rng.random() < 0.4 else shown.format(column)
        if maker.rng.random() < 0.2:
            what += f" FILTER (WHERE {maker.condition(('n', 'r', 't'))})"
        return pick(what, what, "count(*)")

    for _ in range(190):
        key = pick("g", "n % 3", "t", "r > 0", "length(t)")
        what = f"{aggregate()}, {aggregate()}"
        where = f" WHERE {maker.condition(('n', 'r', 't'))}" if maker.rng.random() < 0.4 else ""
        having = " HAVING count(*) > 1" if maker.rng.random() < 0.3 else ""
        key_shown = "max(lower(g))" if key == "g" else key
        maker.query(f"SELECT {key_shown}, {what} FROM a{where} GROUP BY {key}{having}", "rowsort")
    for _ in range(80):
        where = maker.condition(("n", "r", "t"))
        maker.query(f"SELECT {aggregate()}, {aggregate()} FROM a WHERE {where}")
    for _ in range(130):
        over = pick(
            "ORDER BY id",
            "PARTITION BY n ORDER BY id",
            "ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            "ORDER BY id ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING",
            "PARTITION BY n % 2 ORDER BY id DESC",
            "ORDER BY n, id GROUPS 1 PRECEDING",
            "ORDER BY n RANGE BETWEEN 2 PRECEDING AND 1 FOLLOWING",
        )
        what = pick(
            "row_number()",
            "rank()",
            "dense_rank()",
            "lag(t)",
            "lead(n, 2, -1)",
            "first_value(id)",
            "last_value(n)",
            "sum(n)",
            "count(t)",
            "max(r)",
            "nth_value(id, 2)",
            "ntile(4)",
        )
        ordered = "rank" in what or what.startswith(("row", "lag", "lead", "ntile"))
        over = "PARTITION BY n % 3 ORDER BY id" if ordered and "BETWEEN" in over else over
        where = maker.condition(("n", "r", "t"))
        maker.query(f"SELECT id, {what} OVER ({over}) FROM a WHERE {where} ORDER BY id")
    maker.save("aggregates")


def ctes() -> None:
    maker = Maker(4)
    maker.fill()
    for n in range(1, 33):
        maker.query(
            f"WITH RECURSIVE c(x) AS (SELECT {n} UNION ALL SELECT x+{n % 4 + 1} FROM c "
            f"WHERE x < {n * 3}) SELECT count(*), sum(x), max(x) FROM c"
        )
        maker.query(
            f"WITH RECURSIVE f(a, b) AS (VALUES (0, 1) UNION SELECT b, a+b FROM f LIMIT {n % 30}) "
            "SELECT a FROM f ORDER BY a DESC LIMIT 5"
        )
        maker.query(
            f"WITH x AS (SELECT * FROM a WHERE {maker.condition(A)}), y AS MATERIALIZED "
            "(SELECT n, count(*) AS m FROM x GROUP BY n) SELECT n, m FROM y ORDER BY n"
        )
        maker.query(
            f"WITH RECURSIVE up(id, depth) AS (SELECT {n % 30 + 1}, 0 UNION SELECT b.id, depth + 1 "
            "FROM up JOIN b ON b.a_id = up.id WHERE depth < 4) SELECT * FROM up",
            "rowsort",
        )
    for _ in range(25):
        maker.query(f"SELECT column1, column2 FROM (VALUES ({maker.literal()}, {maker.literal()}))")
        doc = f"json_object('n', {maker.pick('1', '2.5', 'NULL')}, 't', json_array({maker.word()}))"
        path = maker.pick("$.n", "$.t", "$.t[0]", "$.missing")
        maker.query(f"SELECT {doc} ->> '{path}', json_type({doc}, '{path}')")
        maker.query(f"SELECT key, atom, type FROM json_tree({doc}) WHERE key IS NOT NULL")
        maker.query(
            f"SELECT json_patch({doc}, '{{\"t\":null,\"x\":[1]}}'), json_set({doc}, '$.n', 9)"
        )
    maker.save("ctes_and_json")


def affinities() -> None:
    maker = Maker(5)
    types = ["INTEGER", "REAL", "TEXT", "NUMERIC", "BLOB", ""]
    columns = ", ".join(f"c{n} {kind}" for n, kind in enumerate(types))
    maker.statement(f"CREATE TABLE v(id INTEGER PRIMARY KEY, {columns})")
    maker.statement("CREATE TABLE s(id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT) STRICT")
    maker.statement(
        "CREATE TABLE o(x TEXT COLLATE NOCASE, y TEXT COLLATE RTRIM, z TEXT,"
        " id INTEGER PRIMARY KEY)"
    )
    for _ in range(60):
        value = maker.pick("1", "1.0", "'1'", "'1.5'", "'x'", "' 7 '", "1e3", "'1e3'", "NULL", "''")
        maker.statement(
            f"INSERT INTO v({','.join(f'c{n}' for n in range(6))}) VALUES ({','.join([value] * 6)})"
        )
        column = maker.pick("i", "r", "t")
        maker.statement(f"INSERT INTO s({column}) VALUES ({value})")
    shown = ", ".join(f"typeof(c{n})" for n in range(6))
    for n in range(1, 61):
        maker.query(f"SELECT {shown} FROM v WHERE id = {n}")
    for _ in range(80):
        one, other = maker.pick(*(f"c{n}" for n in range(6))), maker.pick("c0", "c2", "c5")
        operator = maker.pick("=", "<", ">", "IS", "<>")
        value = maker.pick("1", "'1'", "1.5", "'x'", other, other)
        maker.query(f"SELECT count(*), sum(id) FROM v WHERE {one} {operator} {value}")
    maker.query(
        "SELECT typeof(i), typeof(r), typeof(t), count(*) FROM s GROUP BY 1, 2, 3", "rowsort"
    )
    for word in ("a", "A", "a ", "A ", "b", "B", "ab", "aB", " a"):
        maker.statement(f"INSERT INTO o(x, y, z) VALUES ('{word}', '{word}', '{word}')")
    for column in "xyz":
        for word in ("a", "A", "a ", "B", "AB", "x"):
            maker.query(f"SELECT id FROM o WHERE {column} = '{word}' ORDER BY id")
            maker.query(f"SELECT id FROM o WHERE {column} > '{word}' ORDER BY id")
            maker.query(f"SELECT count(*) FROM o WHERE '{word}' = {column} COLLATE NOCASE")
        maker.query(f"SELECT count(DISTINCT {column}) FROM o")
        maker.query(f"SELECT count(*) FROM o GROUP BY {column}", "rowsort")
        maker.query(f"SELECT id FROM o ORDER BY {column}, id")
        maker.query(f"SELECT id FROM o ORDER BY {column} COLLATE BINARY DESC, id")
    maker.save("affinities")


WRITTEN = [
    "CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, n INTEGER CHECK (n < 50),"
    " low TEXT AS (lower(name)) STORED)",
    "CREATE TABLE q(id INTEGER PRIMARY KEY AUTOINCREMENT, p_id INTEGER REFERENCES p(id)"
    " ON DELETE CASCADE ON UPDATE SET NULL, v DEFAULT 7)",
    "CREATE TABLE l(id INTEGER PRIMARY KEY, what TEXT)",
    "CREATE TRIGGER pi AFTER INSERT ON p BEGIN INSERT INTO l(what) VALUES ('+' || new.name); END",
    "CREATE TRIGGER pd AFTER DELETE ON p BEGIN INSERT INTO l(what) VALUES ('-' || old.name); END",
    "CREATE TRIGGER pu BEFORE UPDATE OF n ON p WHEN new.n < 0 BEGIN"
    " SELECT raise(ABORT, 'negative'); END",
    "CREATE VIEW w AS SELECT p.name, count(q.id) AS m FROM p LEFT JOIN q ON q.p_id = p.id"
    " GROUP BY 1",
    "CREATE INDEX q_p ON q(p_id)",
    "CREATE UNIQUE INDEX p_n ON p(n) WHERE n > 40",
]


def writes() -> None:
    maker = Maker(6)
    for sql in WRITTEN:
        maker.statement(sql)
    pick, rng = maker.pick, maker.rng
    for _ in range(330):
        name, n, key = f"'{pick('Ann', 'Bob', 'cid', 'Dan', 'eve')}{rng.randrange(5)}'", 0, 0
        n, key = rng.randrange(-2, 60), rng.randrange(1, 12)
        maker.statement(
            pick(
                f"INSERT INTO p(name, n) VALUES ({name}, {n})",
                f"INSERT INTO p(id, name, n) VALUES ({key}, {name}, {n})",
                f"INSERT OR IGNORE INTO p(name, n) VALUES ({name}, {n})",
                f"INSERT OR REPLACE INTO p(id, name, n) VALUES ({key}, {name}, {n})",
                f"INSERT INTO p(name, n) VALUES ({name}, {n})"
                " ON CONFLICT(name) DO UPDATE SET n = n + 1",
                f"INSERT INTO p(name) VALUES ({name}) ON CONFLICT DO NOTHING",
                f"INSERT INTO p(name, n) VALUES (NULL, {n})",
                f"UPDATE p SET n = n + {n} WHERE id <= {key}",
                f"UPDATE p SET name = upper(name) WHERE id = {key}",
                f"UPDATE p SET id = id + 20 WHERE id = {key}",
                f"UPDATE p SET n = -1 WHERE id = {key}",
                f"DELETE FROM p WHERE id = {key}",
                f"DELETE FROM p WHERE n > {n}",
                f"INSERT INTO q(p_id) VALUES ({key})",
                f"INSERT INTO q(p_id, v) SELECT id, n FROM p WHERE id < {key}",
                f"UPDATE q SET v = (SELECT n FROM p WHERE p.id = p_id) WHERE p_id = {key}",
                f"UPDATE q SET v = p.n FROM p WHERE p.id = q.p_id AND p.n > {n}",
                f"DELETE FROM q WHERE id % 7 = {key % 7}",
                "DELETE FROM l WHERE id % 2",
            )
        )
        maker.query(
            pick(
                "SELECT * FROM p ORDER BY id",
                "SELECT * FROM q ORDER BY id",
                "SELECT * FROM l ORDER BY id",
                "SELECT * FROM w ORDER BY name",
                "SELECT p.name, p.low, q.v FROM p JOIN q ON q.p_id = p.id ORDER BY q.id",
            )
        )
    for sql in (
        "ALTER TABLE p ADD COLUMN more INTEGER DEFAULT 3",
        "ALTER TABLE p RENAME COLUMN more TO extra",
        "ALTER TABLE l RENAME TO log_of",
        "ALTER TABLE log_of ADD COLUMN bad NOT NULL",
        "DROP VIEW w",
        "DROP INDEX q_p",
        "DROP TRIGGER pi",
        "INSERT INTO p(name) VALUES ('last')",
        "DROP TABLE q",
        "DROP TABLE missing",
        "DROP TABLE IF EXISTS missing",
    ):
        maker.statement(sql)
        maker.query("SELECT * FROM p ORDER BY id")
    maker.query("SELECT name, type, tbl_name FROM sqlite_schema", "rowsort")
    maker.save("writes")


def main() -> None:
    for make in (expressions, selects, aggregates, ctes, affinities, writes):
        make()


if __name__ == "__main__":
    main()
