"""`trustrace datasets`."""

from pathlib import Path
from typing import Annotated

import typer

from trustrace.cli.options import DataDir, Out, Parameters, Seed, parse_parameters

app = typer.Typer(help="Labelled statements: what a probe is asked to tell apart.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A shipped set, or a CSV, JSONL or Parquet file of your own.")]


@app.command("list")
def list_datasets() -> None:
    """List the shipped datasets."""
    from trustrace.cli.view import show_table
    from trustrace.studies.listing import list_catalogue

    show_table("datasets", list_catalogue())


@app.command()
def show(name: Name, data_dir: DataDir = None, seed: Seed = 0, parameters: Parameters = None) -> None:
    """Show what NAME is: label meaning, source, licence, sizes, and a few rows."""
    from trustrace.cli.view import show_table
    from trustrace.studies.listing import describe_statements
    from trustrace.studies.settings import Settings
    from trustrace.studies.statements import load_named

    statements = load_named(
        name, settings=Settings(data_dir=data_dir), seed=seed, parameters=parse_parameters(parameters)
    )
    facts, rows = describe_statements(statements)
    show_table(name, facts)
    show_table("some rows", rows)


@app.command()
def audit(
    name: Name,
    data_dir: DataDir = None,
    seed: Seed = 0,
    parameters: Parameters = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the findings here.")] = None,
) -> None:
    """Look for what would make numbers on NAME misleading: duplicates, contradictions, leaks, labels that surface features give away."""
    from trustrace.cli.view import show_table
    from trustrace.studies.audits import audit_with_floors, write_audit
    from trustrace.studies.settings import Settings
    from trustrace.studies.statements import load_named

    statements = load_named(
        name,
        settings=Settings(data_dir=data_dir),
        seed=seed,
        parameters=parse_parameters(parameters),
        refuse_leaks=False,
    )
    findings = audit_with_floors(statements, seed=seed)
    show_table(
        f"{name}: {findings.n} rows in {findings.n_groups} groups",
        findings.as_rows(),
        columns=("severity", "check", "sentence"),
    )
    if json_file:
        write_audit(findings, json_file)


@app.command()
def export(name: Name, out: Out, data_dir: DataDir = None, seed: Seed = 0, parameters: Parameters = None) -> None:
    """Write NAME as CSV, JSONL or Parquet, by the ending of --out."""
    from trustrace.cli.view import say
    from trustrace.datasets.files import write_statements
    from trustrace.studies.settings import Settings
    from trustrace.studies.statements import load_named

    statements = load_named(
        name, settings=Settings(data_dir=data_dir), seed=seed, parameters=parse_parameters(parameters)
    )
    write_statements(statements, out)
    say(f"{len(statements)} statements: {out}")


@app.command("build-privacy")
def build_privacy(
    out: Out,
    base_url: Annotated[str, typer.Option(help="The endpoint, such as http://localhost:8000/v1.")],
    model: Annotated[str, typer.Option(help="The model's name there.")],
    journal: Annotated[Path, typer.Option(help="Where answers are kept; the same file resumes a build.")] = Path(
        "privacy.journal.jsonl"
    ),
    generations: Annotated[int, typer.Option(min=1, help="Requests for statements per subcategory and label.")] = 5,
    judgements: Annotated[
        int, typer.Option(min=1, help="Judgements of each statement; only unanimous ones are kept.")
    ] = 5,
    seed: Seed = 0,
    price_in: Annotated[float, typer.Option(help="Price of a million tokens sent.")] = 0.0,
    price_out: Annotated[float, typer.Option(help="Price of a million tokens received.")] = 0.0,
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking.")] = False,
) -> None:
    """Write a privacy set after Solove's taxonomy; the key is read from OPENAI_API_KEY, and the cost is shown first."""
    from trustrace.cli.view import show_table, showing_progress
    from trustrace.datasets.privacy_prompts import PrivacyBuild
    from trustrace.evaluation.endpoint import Endpoint
    from trustrace.studies import privacy

    config = PrivacyBuild(model=model, generations=generations, judgements=judgements, seed=seed)
    show_table("before it starts", privacy.foresee(config, journal=journal, price_in=price_in, price_out=price_out))
    if not yes:
        typer.confirm("start?", abort=True)
    endpoint = Endpoint(base_url=base_url, model=model)
    with showing_progress() as progress:
        built = privacy.build_privacy(config, endpoint=endpoint, journal=journal, out=out, progress=progress)
    show_table(str(out), privacy.outcome(built))
