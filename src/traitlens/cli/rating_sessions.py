"""`traitlens rate`: collect ratings from participants; `traitlens plan`: preregister the analysis."""

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from traitlens.cli.options import StudyFolder
from traitlens.cli.terminal import Terminal, answer, messages

rate = typer.Typer(
    no_args_is_help=True,
    help="Collect ratings from participants.\n\nExample: traitlens rate serve mystudy --participants 20",
)


@rate.command()
def serve(
    study: StudyFolder,
    participants: Annotated[
        int, typer.Option(help="Total number of participants; missing ones are created.")
    ] = 0,
    group: Annotated[
        str | None,
        typer.Option(help="Group of the created participants, if known; otherwise they are asked."),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen at; by default only this computer can connect."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port.")] = 8080,
    address: Annotated[
        str | None,
        typer.Option(
            help="Address for the links, if it is another one: that of a TLS proxy before the server."
        ),
    ] = None,
) -> None:
    """Serve rating sessions in the browser; can be stopped and continued at any time.

    Example: traitlens rate serve mystudy --participants 20
    """
    from traitlens.collecting.panels import PANELS, join_address
    from traitlens.collecting.server import LOOPBACK, check_address, reachable_address
    from traitlens.collecting.server import serve as answer_requests
    from traitlens.collecting.session_manager import add_participants, open_sessions

    sessions = open_sessions(study, Terminal())
    everybody = add_participants(sessions, participants, group)
    shown = "localhost" if host in LOOPBACK else reachable_address(host)
    address = f"http://{shown}:{port}" if address is None else check_address(address)
    links = {one.id: f"{address}/#{one.token}" for one in everybody}
    panel = sessions.settings.panel
    secret = secrets.token_urlsafe(24)
    own_page = f"{address}/experimenter#{secret}"
    if host not in LOOPBACK:
        messages.print(
            f"[yellow]![/yellow] Everyone who reaches {escape(host)} and has a link can take part, "
            f"and the connection is not encrypted. Use a network that you trust, or a TLS proxy.",
            soft_wrap=True,
        )
    lines = [f"{name}  {link}" for name, link in links.items()]
    if not lines:
        lines = ["There are no participants yet: create them on the experimenter's page."]
    if panel is not None:
        lines += [f"Link for {PANELS[panel].title}: {join_address(panel, address)}"]
    lines += [f"Experimenter's page, for you alone: {own_page}"]
    answer(
        {
            "links": links,
            "experimenter": own_page,
            "panel": None if panel is None else join_address(panel, address),
        },
        *lines,
        "Give each participant one link. Stop with Ctrl-C.",
    )
    answer_requests(sessions, host, port, secret, address, study.resolve().name)


@rate.command()
def status(study: StudyFolder) -> None:
    """Show the progress of each participant.

    Example: traitlens rate status mystudy
    """
    from traitlens.collecting.collected_data import tabulate_participants

    table = tabulate_participants(study)
    shown = Table("participant", "group", "state", "trials", "last answer (UTC)", box=None)
    for row in table.itertuples():
        trials = f"{row.trials_done} of {row.trials}"
        shown.add_row(
            row.participant, escape(row.group), row.state, trials, row.last_answer[:19].replace("T", " ")
        )
    counts = table["state"].value_counts()
    text = ", ".join(f"{counts.get(state, 0)} {state}" for state in ("done", "under way", "not begun"))
    answer({"participants": table.to_dict("records")}, shown, text)


@rate.command()
def withdraw(
    study: StudyFolder,
    participant: Annotated[str, typer.Argument(help="The pseudonym, such as P003.")],
) -> None:
    """Delete a participant's answers and session permanently, for example after withdrawal of consent.

    Example: traitlens rate withdraw mystudy P003
    """
    from traitlens.collecting.collected_data import withdraw_participant

    deleted = withdraw_participant(study, participant)
    answer(
        {"answers": deleted},
        f"Deleted: {participant} and {deleted} answers. The pseudonym will not be used again.",
        "Tables that were exported earlier still hold the answers: export them again.",
    )


@rate.command("export")
def export_collected(
    study: StudyFolder,
    out: Annotated[Path | None, typer.Option(help="The file; STUDY/ratings.csv by default.")] = None,
    jspsych: Annotated[
        list[Path] | None, typer.Option(help="Data that the jsPsych experiment saved: a file or a folder.")
    ] = None,
    demographics: Annotated[
        Path | None, typer.Option(help="The panel's file about its participants, such as Prolific's export.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="A column of --demographics to add; can be repeated.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing file.")] = False,
) -> None:
    """Export the collected ratings as the study's ratings.csv, with pseudonyms only.

    Example: traitlens rate export mystudy
    """
    from traitlens.collecting.collected_data import export_ratings

    path, ratings, unmatched = export_ratings(study, out, jspsych or (), replace, demographics, column or ())
    facts = {"ratings": path, "rows": len(ratings), "raters": int(ratings["rater"].nunique())}
    lines = [f"{facts['rows']} ratings of {facts['raters']} raters: {path}"]
    if demographics is not None:
        facts["unmatched"] = unmatched
        lines.append(f"Raters without a row in {escape(demographics.name)}: {', '.join(unmatched) or 'none'}")
    answer(facts, *lines, f"Next: traitlens check {study}")


@rate.command("jspsych")
def make_experiment(
    study: StudyFolder,
    out: Annotated[Path, typer.Argument(help="The folder to create.")],
    scripts: Annotated[
        Path | None,
        typer.Option(help="Folder of the npm package jspsych (version 8), copied beside the experiment."),
    ] = None,
    cdn: Annotated[
        str | None,
        typer.Option(help="Web address from which the page loads that script of --scripts instead."),
    ] = None,
    save: Annotated[
        str,
        typer.Option(
            help="download (a file at the end), jatos or pavlovia.",
            autocompletion=lambda: ["download", "jatos", "pavlovia"],
        ),
    ] = "download",
    orders: Annotated[int, typer.Option(help="Number of counterbalanced orders for each group.")] = 40,
) -> None:
    """Write the session as a static jsPsych 8 experiment, for any web server or JATOS.

    Example: traitlens rate jspsych mystudy experiment --scripts node_modules/jspsych
    """
    from traitlens.collecting.jspsych import write_experiment

    write_experiment(study, out, scripts, cdn, save, orders, Terminal())
    answer(
        {"experiment": out}, f"Experiment: {out}. Open {out / 'index.html'}, or put the folder on the web."
    )


def plan(study: StudyFolder) -> None:
    """Freeze the analysis plan (hypotheses, exclusions, tests, seeds); later, show what has changed.

    Example: traitlens plan mystudy
    """
    from traitlens.collecting.preregistration import FILES, freeze_plan

    frozen, differences = freeze_plan(study)
    lines = [f"Frozen {frozen['frozen']}, digest {frozen['digest']}"]
    for row in differences.itertuples():
        lines.append(
            f"{row.what}: {row.mark}" + (f" ({row.planned} → {row.now})" if row.mark == "changed" else "")
        )
    facts: dict[str, Any] = {"plan": frozen, "differences": differences.to_dict("records")}
    if FILES in frozen["content"]:
        from traitlens.experiment.preregistration_text import write_preregistration

        facts["preregistration"] = write_preregistration(study, frozen, study.resolve().name)
        lines.append(f"Text for the preregistration: {facts['preregistration']}")
    answer(facts, *lines)
