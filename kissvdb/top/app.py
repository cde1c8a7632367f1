"""What is seen: numbers with their last minutes above, one of four panels below."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import (
    DataTable,
    Footer,
    Input,
    RichLog,
    Sparkline,
    Static,
    TabbedContent,
    TabPane,
)

from kissvdb.client import Config
from kissvdb.top import rows
from kissvdb.top.feed import Feed
from kissvdb.top.readings import FSYNC, REQUESTS, SECONDS, Reading, millis, per_second, size

HISTORY = 120
SHOWN_LINES_MAX = 2000
LINES_A_LOOK_MAX = 200
LOOK_SECS = 0.2
INTERVALS = (0.5, 1.0, 2.0, 5.0, 10.0)
PANELS = {"routes": "Routes", "collections": "Collections", "log": "Log", "actors": "Actors"}
_COLUMNS = {"routes": rows.ROUTES, "collections": rows.COLLECTIONS, "actors": rows.ACTORS}
_ROWS = {"routes": rows.routes, "collections": rows.collections, "actors": rows.actors}
EVERY_REQUEST = ()


class Tile(Vertical):
    """A number, what it is, and how it went."""

    def __init__(self, name: str, drawn: bool = True) -> None:
        super().__init__(id=f"tile-{name}", classes="tile")
        self.history: deque[float] = deque(maxlen=HISTORY)
        self._drawn = drawn

    def compose(self) -> ComposeResult:
        yield Static("-", classes="value", markup=False)
        if self._drawn:
            yield Sparkline([], summary_function=max)

    def show(self, text: str, value: float) -> None:
        """The text of now, and the value for the line below it."""
        self.query_one(".value", Static).update(text)
        if self._drawn:
            self.history.append(value if value == value else 0.0)
            self.query_one(Sparkline).data = list(self.history)


class Top(App[int]):
    """Watches one server until one quits."""

    TITLE = "kissvdb top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #said { height: 1; padding: 0 1; background: $boost; }
    #trouble { height: auto; padding: 0 1; background: $error; color: $text; display: none; }
    #tiles { height: 4; }
    .tile { width: 1fr; padding: 0 1; height: 4; }
    .value { height: 2; }
    #tile-server .value { height: 4; }
    Sparkline { height: 2; }
    #filter { display: none; height: 3; }
    TabbedContent { height: 1fr; }
    TabPane { padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"panel('{name}')", title)
            for number, (name, title) in enumerate(PANELS.items(), 1)
        ),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "end_filter", "All", show=False),
        Binding("p", "pause", "Pause"),
        Binding("plus,equals_sign", "slower(-1)", "Faster", key_display="+"),
        Binding("minus", "slower(1)", "Slower", key_display="-"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, config: Config, interval: float = 1.0) -> None:
        super().__init__()
        self.feed = Feed(config)
        self.is_paused = False
        self.wanted = ""
        self._interval = interval
        self._reading: Reading | None = None
        self._seen: deque[str] = deque(maxlen=SHOWN_LINES_MAX)
        self._tasks: list[asyncio.Task[None]] = []

    def compose(self) -> ComposeResult:
        yield Static(id="said", markup=False)
        yield Static(id="trouble", markup=False)
        with Horizontal(id="tiles"):
            for name in ("requests", "latency", "events", "fsync"):
                yield Tile(name)
            yield Tile("server", drawn=False)
        # While it is not seen it takes no keys.
        yield Input(placeholder="only what holds this; Escape: all", id="filter", disabled=True)
        with TabbedContent(initial="routes"):
            for name, title in PANELS.items():
                with TabPane(title, id=name):
                    if name == "log":
                        yield RichLog(id="lines", max_lines=SHOWN_LINES_MAX, wrap=False)
                    else:
                        yield DataTable(id=f"{name}-table", cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to ask."""
        for name, columns in _COLUMNS.items():
            self._table(name).add_columns(*columns)
        watching = self.feed.watch(lambda: self._interval, self._take)
        self._tasks.append(asyncio.create_task(watching))
        self.set_interval(LOOK_SECS, self._look)
        self._look()

    async def on_unmount(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _table(self, name: str) -> DataTable[Any]:
        return self.query_one(f"#{name}-table", DataTable)

    def _take(self, reading: Reading) -> None:
        if self.is_paused or not self.query("#said"):
            return
        self._reading = reading
        self._show_tiles(reading)
        self._show_table()

    def _show_tiles(self, reading: Reading) -> None:
        requests = reading.rate(REQUESTS)
        events = reading.rate("kissvdb_events_total")
        p50, p99 = reading.quantiles(SECONDS, EVERY_REQUEST, 0.5, 0.99)
        f50, f99 = reading.quantiles(FSYNC, EVERY_REQUEST, 0.5, 0.99)
        tiles = (
            ("requests", f"requests\n{per_second(requests)} a second", requests),
            ("latency", f"latency p50, p99\n{millis(p50)}, {millis(p99)} ms", p99),
            ("events", f"events\n{per_second(events)} a second", events),
            ("fsync", f"fsync p50, p99\n{millis(f50)}, {millis(f99)} ms", f99),
        )
        for name, text, drawn in tiles:
            self.query_one(f"#tile-{name}", Tile).show(text, drawn)
        value = reading.value
        text = (
            f"{value('kissvdb_sse_clients'):,.0f} streams\n"
            f"{value('kissvdb_sse_lag_events'):,.0f} events behind\n"
            f"memory {size(value('process_resident_memory_bytes'))}\n"
            f"cpu {reading.rate('process_cpu_seconds_total'):.0%}, "
            f"log {size(value('kissvdb_log_bytes'))}"
        )
        self.query_one("#tile-server", Tile).show(text, 0.0)

    def _show_table(self) -> None:
        name = self.query_one(TabbedContent).active
        if self._reading is None or name not in _ROWS:
            return
        table = self._table(name)
        at = table.cursor_row
        table.clear()
        for row in self._passing(_ROWS[name](self._reading)):
            right = (Text(cell, justify="right") for cell in row[1:])
            table.add_row(Text(row[0]), *right)
        table.move_cursor(row=min(at, max(table.row_count - 1, 0)))

    def _passing(self, found: Iterable[rows.Row]) -> Iterator[rows.Row]:
        return (row for row in found if self.wanted.lower() in row[0].lower())

    def _look(self) -> None:
        """What changes by itself: the line of status, and the log."""
        if not self.query("#said"):
            return  # while it ends
        offset = 0 if self._reading is None else self._reading.value("kissvdb_last_offset")
        state = "PAUSED" if self.is_paused else f"every {self._interval:g} s"
        only = f"   only {self.wanted!r}" if self.wanted else ""
        said = f"{self.feed.url}   offset {offset:.0f}   {state}{only}"
        self.query_one("#said", Static).update(said)
        trouble = self.feed.trouble or self.feed.stream_trouble
        shown = self.query_one("#trouble", Static)
        shown.display = bool(trouble)
        if trouble:
            shown.update(f"no answer, and asking again: {trouble}")
        if not self.is_paused:
            self._show_lines()

    def _show_lines(self) -> None:
        lines, log = self.feed.lines, self.query_one("#lines", RichLog)
        if self.feed.lost_lines:
            log.write(Text(f"({self.feed.lost_lines:,} more than can be shown)"))
            self.feed.lost_lines = 0
        for _ in range(min(len(lines), LINES_A_LOOK_MAX)):
            line = lines.popleft()
            self._seen.append(line)
            if self.wanted.lower() in line.lower():
                log.write(Text(line))

    def action_panel(self, name: str) -> None:
        """Show another panel. The log is followed from when it is first looked at."""
        self.query_one(TabbedContent).active = name

    def on_tabbed_content_tab_activated(self) -> None:
        """However it was chosen."""
        if self.query_one(TabbedContent).active == "log" and len(self._tasks) == 1:
            self._tasks.append(asyncio.create_task(self.feed.follow()))
        self._show_table()
        self._focus()

    def action_filter(self) -> None:
        """Ask what to show only."""
        asked = self.query_one("#filter", Input)
        asked.display, asked.disabled = True, False
        asked.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """As it is typed."""
        self.wanted = event.value
        self._show_table()
        log = self.query_one("#lines", RichLog)
        log.clear()
        for line in self._seen:
            if self.wanted.lower() in line.lower():
                log.write(Text(line))

    def on_input_submitted(self) -> None:
        """Keep it, and give the keys back."""
        self._leave_filter(self.query_one("#filter", Input))

    def action_end_filter(self) -> None:
        """Show everything again."""
        asked = self.query_one("#filter", Input)
        asked.value = ""
        self._leave_filter(asked)

    def _leave_filter(self, asked: Input) -> None:
        asked.display, asked.disabled = False, True
        self._focus()

    def _focus(self) -> None:
        """On what can be scrolled."""
        active = self.query_one(TabbedContent).active
        self.query_one("#lines" if active == "log" else f"#{active}-table").focus()

    def action_pause(self) -> None:
        """Hold what is seen, or go on."""
        self.is_paused = not self.is_paused

    def action_slower(self, by: int) -> None:
        """Ask less often, or more."""
        nearest = min(INTERVALS, key=lambda each: abs(each - self._interval))
        at = INTERVALS.index(nearest) + by
        self._interval = INTERVALS[max(0, min(at, len(INTERVALS) - 1))]
