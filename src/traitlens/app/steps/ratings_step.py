"""The step Ratings: upload a table, choose what its columns hold, and see how it matches the pictures."""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from nicegui import run, ui

from traitlens.app import background
from traitlens.app.column_roles import (
    ROLES,
    SPREAD,
    Match,
    UploadedTable,
    mapping_from_choices,
    match_pictures,
    read_uploaded_table,
    roles_from_mapping,
)
from traitlens.app.elements import button, checkbox, choice, faults, field, files, text
from traitlens.app.import_messages import ABSENT_TICK, MISSING_FIELD, NUMBER_TICK, REPEAT_TICK, reword_for_app
from traitlens.app.steps.collecting_view import draw_collecting
from traitlens.columns import GROUP, RATER, TRAIT
from traitlens.problems import Problem, TraitlensError

if TYPE_CHECKING:
    from traitlens.app.app_page import AppPage

ACCEPT: Final = ".xlsx,.xls,.xlsb,.ods,.csv,.tsv,.txt,.sav,.zsav,.por,.parquet,.mat,.json"
ROWS: Final = 8
"""Number of rows of the table that are shown."""
MOST_NAMES: Final = 8
"""Maximum number of unmatched names that are listed; the others are only counted."""
HOW: Final = (
    "For every column, choose what it holds. traitlens has made a guess; please check it. "
    "“Ratings: one rater” means that a column holds the ratings that one person gave to all pictures."
)


def draw(page: "AppPage") -> None:
    """Draw the step Ratings."""
    workspace = page.workspace
    table = workspace.table
    if table is None:
        if workspace.has_ratings:
            text("p", "The ratings are in the study's folder already. Another table would replace them.")
            button("Next: check", lambda: page.go("check"), "main")
        else:
            text("p", "Choose the table of ratings, as your software saved it. It is copied, not changed.")
    else:
        text("p", f"Table: {table.name}")

    def show(event: Any) -> None:
        if event.args.get("finished"):
            page.draw()
            if event.args["refused"]:
                page.refuse(TraitlensError([Problem(one) for one in event.args["refused"]]))

    label = "Choose the table of ratings" if table is None else "Choose another or a corrected table"
    files(label, "/upload/table", show, ACCEPT)
    if table is None and workspace.pictures:
        with ui.element("details") as part:
            if background.read_progress(workspace.folder, "collect").state != "nothing":
                part.props["open"] = True
            text("summary", "Collect ratings from participants")
            draw_collecting(page, workspace.folder)
    if table is not None:
        waiting = text("p", "Reading the table …").props('role="status"')
        box = ui.element("div")

        async def load() -> None:
            found = await page.attempt(read_uploaded_table, table, workspace.pictures)
            if not box.is_deleted:
                waiting.delete()
                if isinstance(found, UploadedTable):
                    with box:
                        _ColumnEditor(page, found).draw()

        ui.timer(0, load, once=True)


class _ColumnEditor:
    """Editor of what the columns hold: the table's first rows, with a list of roles above each column."""

    def __init__(self, page: "AppPage", table: UploadedTable):
        self.page, self.table = page, table
        self.workspace = page.workspace
        self.first = self.last = table.columns[0]
        self.ends: list[float | None] = list(self.workspace.choices.scale or (None, None))
        if not self.workspace.choices.roles:
            guess = table.guess
            stem = "" if self.workspace.table is None else self.workspace.table.stem
            self.workspace.change(
                roles=roles_from_mapping(guess, table.columns),
                trait=guess.trait_name or stem,
                groups_from_names=guess.group_pattern is not None,
                by_number=guess.by_number,
                missing=", ".join(guess.missing),
            )

    @property
    def roles(self) -> dict[str, str]:
        """The chosen role of each column."""
        return {name: self.workspace.choices.roles.get(name, "ignore") for name in self.table.columns}

    def draw(self) -> None:
        """Draw the counts, the fields, and the grid with the first rows."""
        if self.table.doubt:
            doubt = reword_for_app(self.table.doubt)
            text("p", f"What the columns hold could not be guessed: {doubt}.", "note")
        self.counts = ui.element("div").classes("counts").props('role="status"')
        with ui.element("div").classes("row"):
            button("Next: check", lambda: self.page.go("check"), "main")
        self.fields = ui.element("div")
        text("h2", "What the columns hold")
        text("p", HOW)
        self.several = ui.element("div").classes("row")
        self.grid = (
            ui.element("div")
            .classes("grid")
            .props('tabindex="0" role="region" aria-label="First rows of the table"')
        )
        self._draw_fields()
        self._draw_several()
        self._draw_grid()
        ui.timer(0, self.count, once=True)

    def _draw_fields(self) -> None:
        """Draw the fields for what the columns do not say: trait, groups, scale and missing values."""
        choices, held = self.workspace.choices, set(self.roles.values())
        self.fields.clear()
        with self.fields, ui.element("div").classes("row"):
            tells_trait = TRAIT in held or "of trait" in held or "(?P<trait>" in str(self.table.guess.pattern)
            if not tells_trait:
                field("Trait that was rated", choices.trait, self._save_choice_handler("trait"), 20)
            if GROUP not in held and (RATER in held or "of rater" in held):
                checkbox(
                    "Raters' names begin with their group (ASD_1, NT_2)",
                    choices.groups_from_names,
                    self._save_choice_handler("groups_from_names"),
                )
            low, high = self.ends
            field("Lowest possible rating", "" if low is None else f"{low:g}", self._scale_handler(0), 6)
            field("Highest possible rating", "" if high is None else f"{high:g}", self._scale_handler(1), 6)
        with self.fields, ui.element("details"):
            text("summary", "More about this table")
            field(
                f"{MISSING_FIELD} (such as -99, NA)",
                choices.missing,
                self._save_choice_handler("missing"),
                20,
            )
            ticks = {"by_number": NUMBER_TICK, "number_repeats": REPEAT_TICK, "leave_out_absent": ABSENT_TICK}
            for name, label in ticks.items():
                checkbox(label, getattr(choices, name), self._save_choice_handler(name))

    def _save_choice_handler(self, name: str) -> Any:
        """Return the handler that saves a field's value as a choice and counts again."""

        async def change(value: Any) -> None:
            self.workspace.change(**{name: value}, checked=False, agreed=[])
            await self.count()

        return change

    def _scale_handler(self, place: int) -> Any:
        """Return the handler for one end of the scale (0: lowest, 1: highest), saved once both are given."""

        async def change(value: str) -> None:
            try:
                self.ends[place] = float(value.replace(",", ".")) if value.strip() else None
            except ValueError:
                self.page.refuse(
                    TraitlensError(Problem(f"{value!r} is not a number", "enter a number such as 7"))
                )
                return
            low, high = self.ends
            self.page.messages.clear()
            if low is not None and high is not None and not low < high:
                self.page.refuse(TraitlensError("the lowest rating must be below the highest"))
                return
            scale = (low, high) if low is not None and high is not None else None
            self.workspace.change(scale=scale, checked=False, agreed=[])
            await self.count()

        return change

    def _draw_several(self) -> None:
        """Draw the lists that set the role of a range of columns at once."""
        names = {name: name for name in self.table.columns}
        self.several.clear()
        with self.several:

            def begin(value: str) -> None:
                self.first = self.last = value
                self._draw_several()
                self.page.focus(".to select")

            choice("From column", names, self.first, begin)
            with ui.element("div").classes("to"):
                choice("to column", names, self.last, lambda value: setattr(self, "last", value))
            choice("holds", {"": "choose …"} | ROLES, "", self._set_several)

    async def _set_several(self, role: str) -> None:
        """Set the role of all columns in the chosen range."""
        columns = self.table.columns
        first, last = sorted((columns.index(self.first), columns.index(self.last)))
        if role:
            await self._set(dict.fromkeys(columns[first : last + 1], role))
            self._draw_grid()

    async def _set_one(self, column: str, role: str) -> None:
        """Set the role of one column."""
        await self._set({column: role})
        self._draw_several()

    async def _set(self, roles: dict[str, str]) -> None:
        """Save the roles of columns, and count again."""
        self.workspace.change(roles=self.roles | roles, checked=False, agreed=[])
        self._draw_fields()
        await self.count()

    def _draw_grid(self) -> None:
        """Draw the first rows of the table, with a list of roles above each column."""
        roles = self.roles
        self.grid.clear()
        with self.grid, ui.element("table"):
            with ui.element("thead"), ui.element("tr"):
                text("td", "")
                for name in self.table.columns:
                    with ui.element("th").props('scope="col"').classes(_kind(roles[name])):
                        text("div", name, "name")
                        choice(
                            f"Column {name} holds",
                            ROLES,
                            roles[name],
                            partial(self._set_one, name),
                            show_label=False,
                        )
            with ui.element("tbody"):
                for index, row in self.table.cells.head(ROWS).iterrows():
                    with ui.element("tr"):
                        text("th", str(int(str(index)) + 2)).props('scope="row"')
                        for name in self.table.columns:
                            text("td", str(row.get(name, "")))
        hidden = len(self.table.cells) - ROWS
        if hidden > 0:
            with self.grid:
                text("p", f"… and {hidden} more rows", "faint")

    async def count(self) -> None:
        """Count matched pictures, ratings, raters and groups for the chosen roles, and show the counts."""
        choices = self.workspace.choices
        try:
            mapping = mapping_from_choices(choices, self.table)
            match: Match | None = await run.io_bound(
                match_pictures, self.table, mapping, self.workspace.pictures
            )
            problems = []
        except TraitlensError as error:
            match, problems = None, list(error.problems)
        if self.counts.is_deleted:
            return
        self.counts.clear()
        with self.counts:
            faults(problems)
            if match is not None:
                _draw_match(match)


def _draw_match(match: Match) -> None:
    """Draw how the table matches the pictures."""
    fits = match.found == match.pictures and not match.unknown
    text("p", f"{match.found} of {match.pictures} pictures found", "big good" if fits else "big bad")
    parts = [f"{match.ratings:,} ratings"]
    parts.append(f"{match.raters} raters" if match.raters else "raters without names")
    parts.append(f"groups: {', '.join(match.groups[:6])}" if match.groups else "one group of raters")
    parts.append(f"traits: {', '.join(match.traits[:8])}" if match.traits else "one trait")
    text("p", " · ".join(parts))
    if match.unknown:
        shown = ", ".join(f"“{name}”" for name in match.unknown[:MOST_NAMES])
        more = len(match.unknown) - MOST_NAMES
        shown += f" and {more} more" if more > 0 else ""
        text("p", f"Names in the table without a picture ({len(match.unknown)}): {shown}", "note")
    if match.found < match.pictures:
        text("p", f"{match.pictures - match.found} pictures are not rated; they are left out.", "note")


def _kind(role: str) -> str:
    """Return the CSS class of a column with a role."""
    return "ratings" if role in SPREAD or role == "rating" else "ignored" if role == "ignore" else "names"
