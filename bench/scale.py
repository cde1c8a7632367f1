"""A million vectors: our kinds of index beside other libraries', and our server loaded with them.

A set of --rows vectors is made of the real ones in --data (base.npy, queries.npy) and kept below
--work, and so is the index of each contender: a second run only opens them. Each contender has a
process and one thread; figures of speed are CPU time. What is measured: queries a second at
recall@10 of 0.90, 0.95 and 0.99, what the build cost, memory, and reads from a cold disk.

With --server: a load through the server, searches while it runs, a kill, and filters.
"""

import argparse
import sys
from pathlib import Path

# Import from the root instead of from here: http.py beside this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.load import options, report
from bench.load.process import PEERS_BIN
from bench.scale_parts import building, climb, judged, made
from bench.scale_parts.building import Pythons
from bench.scale_parts.contender import KINDS


def main() -> int:
    command = options.parser(__doc__ or "")
    command.add_argument("--data", type=Path, required=True, metavar="DIR")
    command.add_argument("--work", type=Path, required=True, help="where all that is made is kept")
    command.add_argument("--rows", type=options.positive, default=1_000_000)
    command.add_argument("--only", default=",".join(KINDS), help="contenders, by commas")
    command.add_argument("--peers", default=str(PEERS_BIN / "python"), help="Python with the peers")
    command.add_argument("--no-build", action="store_true", help="only what is built already")
    command.add_argument("--no-search", action="store_true", help="only build")
    command.add_argument("--server", action="store_true", help="measure the server instead")
    command.add_argument("--kind", default="hnsw", help="of the server's index")
    command.add_argument(
        "--starts", action="store_true", help="with --server: of what a former run has loaded"
    )
    arguments = command.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(KINDS):
        command.error(f"no contender {', '.join(sorted(unknown))}: there are {', '.join(KINDS)}")
    found = made.made(arguments.data, arguments.work, arguments.rows)
    if arguments.server:
        from bench.scale_parts import server

        return server.run(found, arguments)
    return compare(found, names, arguments)


def compare(found: made.Made, names: list[str], arguments: argparse.Namespace) -> int:
    """Build what is missing, open all, search in turn; print, save and plot."""
    pythons = Pythons(sys.executable, arguments.peers)
    built, missing = building.indexes(
        found.directory, names, pythons, len(found.base), build=not arguments.no_build
    )
    if arguments.no_search:
        return 0
    climbers = climb.opened(built, found, pythons, missing)
    cells = climb.measure(climbers, len(found.queries), arguments.rounds, missing)
    outcome = judged.outcome(climbers, cells, missing, len(found.base))
    for one in climbers:
        one.process.close()
    judged.show(outcome)
    about = report.machine(arguments.work, "as --work has it")
    judged.save(outcome, about, arguments.name or "scale")
    return 0


if __name__ == "__main__":
    sys.exit(main())
