"""The commands `traitlens rate`, to collect ratings, and `traitlens plan`, to preregister the analysis."""

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from traitlens.cli.options import StudyFolder
from traitlens.cli.terminal import Terminal, messages, print_result

rate = typer.Typer(
    no_args_is_help=True,
    help="Collect ratings from participants.\n\nExample: traitlens rate serve mystudy --participants 20",
)


@rate.command()
def serve(
    study: StudyFolder,
    participants: Annotated[
        int, typer.Option(help="Total number of participants; participants are created up to this number.")
    ] = 0,
    group: Annotated[
        str | None,
        typer.Option(help="Group of the created participants; by default participants are asked for it."),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="Address at which the server listens; by default only this computer can connect."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port at which the server listens.")] = 8080,
    address: Annotated[
        str | None,
        typer.Option(
            help="Address in the links for participants, if another than --host, such as a TLS proxy."
        ),
    ] = None,
) -> None:
    """Serve rating sessions to browsers; they can be interrupted and resumed at any time.

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
            f"[yellow]![/yellow] Everyone who can connect to {escape(host)} and has a link can take part, "
            f"and the connection is not encrypted. Use a network that you trust, or a TLS proxy.",
            soft_wrap=True,
        )
    lines = [f"{name}  {link}" for name, link in links.items()]
    if not lines:
        lines = ["There are no participants yet; create them on the experimenter's page."]
    if panel is not None:
        lines += [f"Link for {PANELS[panel].title}: {join_address(panel, address)}"]
    lines += [f"Experimenter's page (do not share this link): {own_page}"]
    print_result(
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
    print_result({"participants": table.to_dict("records")}, shown, text)


@rate.command()
def withdraw(
    study: StudyFolder,
    participant: Annotated[str, typer.Argument(help="Pseudonym of the participant, such as P003.")],
) -> None:
    """Delete a participant's answers and session permanently, for example after withdrawal of consent.

    Example: traitlens rate withdraw mystudy P003
    """
    from traitlens.collecting.collected_data import withdraw_participant

    deleted = withdraw_participant(study, participant)
    print_result(
        {"answers": deleted},
        f"Deleted: {participant} and {deleted} answers. The pseudonym will not be used again.",
        "Tables exported earlier still contain the answers; export them again.",
    )


@rate.command("export")
def export_collected(
    study: StudyFolder,
    out: Annotated[Path | None, typer.Option(help="File to write; STUDY/ratings.csv by default.")] = None,
    jspsych: Annotated[
        list[Path] | None, typer.Option(help="File or folder with the data saved by the jsPsych experiment.")
    ] = None,
    demographics: Annotated[
        Path | None,
        typer.Option(help="File of the panel about its participants, such as an export of Prolific."),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Column of --demographics to add; repeat for several.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing file.")] = False,
) -> None:
    """Export the collected ratings to ratings.csv of the study, with pseudonyms only.

    Example: traitlens rate export mystudy
    """
    from traitlens.collecting.collected_data import export_ratings

    path, ratings, unmatched = export_ratings(study, out, jspsych or (), replace, demographics, column or ())
    facts = {"ratings": path, "rows": len(ratings), "raters": int(ratings["rater"].nunique())}
    lines = [f"{facts['rows']} ratings of {facts['raters']} raters: {path}"]
    if demographics is not None:
        facts["unmatched"] = unmatched
        lines.append(f"Raters without a row in {escape(demographics.name)}: {', '.join(unmatched) or 'none'}")
    print_result(facts, *lines, f"Next: traitlens check {study}")


@rate.command("jspsych")
def make_experiment(
    study: StudyFolder,
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    scripts: Annotated[
        Path | None,
        typer.Option(help="Folder of the npm package jspsych (version 8), which is copied to OUT."),
    ] = None,
    cdn: Annotated[
        str | None,
        typer.Option(
            help="Web address from which the page loads the script of --scripts in place of a copy."
        ),
    ] = None,
    save: Annotated[
        str,
        typer.Option(
            help="Where data are saved: download (a file at the end), jatos or pavlovia.",
            autocompletion=lambda: ["download", "jatos", "pavlovia"],
        ),
    ] = "download",
    orders: Annotated[int, typer.Option(help="Number of counterbalanced orders for each group.")] = 40,
) -> None:
    """Write the rating session as a static jsPsych 8 experiment for any web server or JATOS.

    Example: traitlens rate jspsych mystudy experiment --scripts node_modules/jspsych
    """
    from traitlens.collecting.jspsych import write_experiment

    write_experiment(study, out, scripts, cdn, save, orders, Terminal())
    print_result(
        {"experiment": out},
        f"Experiment: {out}. Open {out / 'index.html'}, or upload the folder to a web server.",
    )


def plan(study: StudyFolder) -> None:
    """Freeze the analysis plan (hypotheses, exclusions, tests, seeds), or show what has changed since then.

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
    print_result(facts, *lines)
