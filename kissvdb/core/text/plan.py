"""A query of words becomes a plan of terms, phrases and sets of terms in each field."""

from collections.abc import Callable, Iterator, Sequence

from kissvdb.core.postings.query import Alternatives, Atom, Plan
from kissvdb.core.text.lexicon import Lexicon, TextField
from kissvdb.core.text.query import Clause, TextQuery
from kissvdb.errors import InvalidArgument

ATOMS_MAX = 256
"""Terms of a query that score; of more, counted in every field, the commonest are left out."""
DECIDING_MAX = 4096
"""Terms that must match or must not, counted in every field: none of them can be left out."""
PREFIX_TERMS_MAX = 64
"""Terms that a beginning stands for: the commonest of those that begin so."""

Having = Callable[[Sequence[Atom]], Sequence[int]]
"""How many rows have each of these atoms."""
Beginning = Callable[[TextField, str], list[int]]
"""The terms of a field with a surface that begins so."""


def plan_of(query: TextQuery, lexicon: Lexicon, having: Having, beginning: Beginning) -> Plan:
    """The plan of a query. Words that no row has are in no atom."""
    return _Planner(query, lexicon, having, beginning).plan()


class _Planner:
    def __init__(
        self, query: TextQuery, lexicon: Lexicon, having: Having, beginning: Beginning
    ) -> None:
        self._query = query
        self._lexicon = lexicon
        self._having = having
        self._beginning = beginning
        self._weights: dict[Atom, float] = {}
        self._words: dict[Atom, int] = {}
        self._required: set[Atom] = set()
        self._word = 0
        self._ignored = 0

    def plan(self) -> Plan:
        must: list[list[list[Atom]]] = []
        must_not: list[list[list[Atom]]] = []
        everywhere = list(self._fields(None))
        for clause in self._query.clauses:
            if clause.kind == "word" and clause.occur == "should":
                self._add_word(clause, everywhere if clause.field is None else None)
                continue
            groups = list(self._alternatives(clause))
            if clause.occur == "must":
                must.append(groups)
                self._required.update(atom for group in groups for atom in group)
            elif clause.occur == "must_not":
                must_not.append(groups)
        deciding = sum(len(group) for groups in [*must, *must_not] for group in groups)
        if deciding > DECIDING_MAX:
            raise InvalidArgument(
                f"the query has {deciding:,} words, counted in every field, that must match or "
                f"must not; at most {DECIDING_MAX:,}: send fewer, or name the fields to look in"
            )
        self._bound()
        atoms = list(self._weights)
        number = {atom: place for place, atom in enumerate(atoms)}
        for groups in must_not:
            for atom in (each for group in groups for each in group):
                if atom not in number:
                    number[atom] = len(number)

        def numbered(clauses: list[list[list[Atom]]]) -> tuple[Alternatives, ...]:
            return tuple(
                tuple(tuple(number[atom] for atom in group) for group in groups)
                for groups in clauses
            )

        return Plan(
            tuple(number),
            tuple(self._weights.values()),
            tuple(self._words[atom] for atom in atoms),
            numbered(must),
            numbered(must_not),
            self._ignored,
        )

    def _add_word(self, clause: Clause, fields: Sequence[tuple[TextField, float]] | None) -> None:
        """Note the scores of a word that need not match; most of a query are no more."""
        first, most = self._word, 0
        weights, words, lexicon = self._weights, self._words, self._lexicon
        for field, weight in self._fields(clause.field) if fields is None else fields:
            atoms = lexicon.atoms.get((field.number, clause.text))
            if atoms is None:
                tokens = lexicon.asked(field, clause)
                atoms = tuple(self._atoms(clause, field, tokens)) if tokens else ()
                lexicon.note(field, clause, atoms)
            for place, atom in enumerate(atoms, first):
                if atom is not None:
                    weights[atom] = weights.get(atom, 0.0) + weight * clause.weight
                    words.setdefault(atom, place)
            most = max(most, len(atoms))
        self._word += most

    def _alternatives(self, clause: Clause) -> Iterator[list[Atom]]:
        """For each field that may have all of the clause: the atoms it is there. Scores are noted
        on the way."""
        scores = clause.occur != "must_not"
        first, most = self._word, 0
        for field, weight in self._fields(clause.field):
            tokens = self._lexicon.asked(field, clause)
            if not tokens:
                continue
            atoms = self._atoms(clause, field, tokens)
            for place, atom in enumerate(atoms):
                if atom is not None and scores:
                    self._weights[atom] = self._weights.get(atom, 0.0) + weight * clause.weight
                    self._words.setdefault(atom, first + place)
            most = max(most, len(atoms))
            found = [atom for atom in atoms if atom is not None]
            if len(found) == len(atoms):
                yield found
        self._word += most

    def _fields(self, name: str | None) -> Iterator[tuple[TextField, float]]:
        """The field that a clause names; without one all that the query is looked for in."""
        weights = self._query.fields
        if name is not None:
            paths: Sequence[str] = (name,)
        else:
            paths = self._lexicon.vocabulary.paths if weights is None else tuple(weights)
        return self._lexicon.weighed(paths, weights)

    def _atoms(
        self, clause: Clause, field: TextField, tokens: tuple[str, ...]
    ) -> list[Atom | None]:
        """What a clause is in a field, word by word; None where no row has it."""
        whole = tokens[:-1] if clause.kind == "prefix" else tokens
        last = self._any(field, tokens[-1]) if clause.kind == "prefix" else None
        terms = [self._lexicon.term(field, token) for token in whole]
        atoms: list[Atom | None]
        if len(terms) > 1 and clause.is_phrase(field.analyzer):
            known = tuple(term for term in terms if term is not None)
            phrase = Atom("phrase", known, field.number) if len(known) == len(terms) else None
            atoms = [phrase]
        else:
            atoms = [
                None if term is None else Atom("term", (term,), field.number) for term in terms
            ]
        return [*atoms, last] if clause.kind == "prefix" else atoms

    def _any(self, field: TextField, beginning: str) -> Atom | None:
        terms = self._beginning(field, beginning)
        if len(terms) > PREFIX_TERMS_MAX:
            counts = self._having([Atom("term", (term,), field.number) for term in terms])
            best = sorted(range(len(terms)), key=lambda place: (-counts[place], terms[place]))
            self._ignored += len(terms) - PREFIX_TERMS_MAX
            terms = sorted(terms[place] for place in best[:PREFIX_TERMS_MAX])
        return Atom("any", tuple(terms), field.number) if terms else None

    def _bound(self) -> None:
        """Leave out the commonest of too many atoms that need not match."""
        over = len(self._weights) - ATOMS_MAX
        optional = [atom for atom in self._weights if atom not in self._required]
        if over <= 0 or not optional:
            return
        counts = self._having(optional)
        commonest = sorted(range(len(optional)), key=lambda place: -counts[place])[:over]
        for place in commonest:
            del self._weights[optional[place]]
        self._ignored += len(commonest)
