"""BM25 by its formula over lists of words, and texts to try it on."""

import math
import random

from kissvdb.core.text.query import QueryOptions, parse
from kissvdb.core.text.settings import FieldSettings, TextSettings

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "thetas", "gamut", "Ünïcode"]
SETTINGS = TextSettings(
    fields={"title": FieldSettings(weight=2.0, language="none")},
    default=FieldSettings(language="none"),
    k1=0.9,
    b=0.6,
)
OPTIONS = QueryOptions(known=frozenset({"title", "body"}))
QUERIES = [
    "alpha",
    "alpha beta gamma",
    "title:alpha delta^3",
    '"alpha beta"',
    'gamma "beta beta alpha"',
    "gam*",
    "+alpha beta gam*",
    "+alpha +beta",
    "alpha -beta",
    '+title:zeta -"eta eta" delta unheard',
    "unicode unheard",
    "+unheard alpha",
    "unheard",
]


def query(text, options=OPTIONS):
    return parse(text, options)


def random_text(rng):
    return " ".join(rng.choices(WORDS, weights=range(len(WORDS), 0, -1), k=rng.randint(0, 8)))


def random_row(rng):
    row = []
    for path in ("title", "body"):
        row += [(path, random_text(rng)) for _ in range(rng.choice((0, 1, 1, 2)))]
    return row


def random_rows(seed, count):
    rng = random.Random(seed)
    return [random_row(rng) for _ in range(count)]


class Reference:
    """The rows as lists of words: {path: [words of each text]}."""

    def __init__(self, rows, settings=SETTINGS):
        self.settings = settings
        self.rows = []
        for row in rows:
            fields = {}
            for path, text in row:
                words = text.lower().replace("ünïcode", "unicode").split()
                fields.setdefault(path, []).append(words)
            self.rows.append(fields)

    def counts(self, path, words, *, prefix=False):
        """How often each row has the words one after the other in one text of the field."""
        found = []
        for row in self.rows:
            count = 0
            for text in row.get(path, []):
                for at in range(len(text) - len(words) + 1):
                    part = text[at : at + len(words)]
                    same = part[-1].startswith(words[-1]) if prefix else part == words
                    count += same
            found.append(count)
        return found

    def scores(self, parsed):
        """{row: score} of the rows that match."""
        sums = [0.0] * len(self.rows)
        rows = range(len(self.rows))
        has_any, must, must_not = set(), [], []
        for clause in parsed.clauses:
            paths = [clause.field] if clause.field else ["title", "body"]
            words = clause.text.lower().split()
            having = set()
            for path in paths:
                counts = self.counts(path, words, prefix=clause.kind == "prefix")
                having.update(row for row in rows if counts[row])
                if clause.occur != "must_not":
                    self._add(sums, path, counts, clause.weight)
            if clause.occur == "must":
                must.append(having)
            if clause.occur == "must_not":
                must_not.append(having)
            else:
                has_any |= having
        passing = set.intersection(*must) if must else has_any
        passing = passing.difference(*must_not)
        return {row: sums[row] for row in passing}

    def _add(self, sums, path, counts, weight):
        lengths = [sum(map(len, row.get(path, []))) for row in self.rows]
        having = sum(length > 0 for length in lengths)
        if not having:
            return
        df = sum(count > 0 for count in counts)
        idf = math.log(1 + (having - df + 0.5) / (df + 0.5))
        average = sum(lengths) / having
        field, settings = self.settings.field(path), self.settings
        for row, tf in enumerate(counts):
            if tf:
                norm = settings.k1 * (1 - settings.b + settings.b * lengths[row] / average)
                sums[row] += field.weight * weight * idf * tf / (tf + norm)

    def best(self, parsed, k, allowed=None):
        scores = self.scores(parsed)
        chosen = [row for row in scores if allowed is None or row in allowed]
        chosen.sort(key=lambda row: (-round(scores[row], 9), row))
        return [(row, scores[row]) for row in chosen[:k]]
