"""`amoc scenarios` and `amoc describe`: list the scenarios, and show one with its settings."""

import json
import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import asdict

import click

from amoc_gevent.cli.options import JSON
from amoc_gevent.core.columns import columns
from amoc_gevent.core.manifest import DeclaredSetting
from amoc_gevent.errors import EXIT_FINISHED
from amoc_gevent.loading import catalogue, loader
from amoc_gevent.loading.places import shown


@click.command()
@JSON
def scenarios(as_json: bool) -> None:
    """List all scenarios, with the first line of each docstring.

    They are in ./scenarios, and in the scenarios/ beside the package.
    """
    found = loader.listing()
    for line in catalogue.unreadable_directories():
        click.echo(f"amoc: {line}", err=True)
    if as_json:
        rows = [{"name": s.name, "path": shown(s.path), "summary": s.summary} for s in found]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not found:
        click.echo("There are no scenarios here: add one, such as scenarios/hello.py")
        return
    for line in columns([(scenario.name, scenario.summary) for scenario in found], left=2):
        click.echo(line)


@click.command()
@click.argument("name", required=False)
@JSON
@click.pass_context
def describe(context: click.Context, name: str | None, as_json: bool) -> int:
    """Show what scenario NAME (or a path) does, its callbacks and its settings.

    Without NAME, the master describes the scenario of its run, as the prompt's `describe` does.
    """
    if name is None:
        from amoc_gevent.cli.steering.remote import describe_run  # noqa: PLC0415  # slow to import

        found: int = context.invoke(describe_run, as_json=as_json)
        return found
    return _describe(name, as_json=as_json)


def _describe(name: str, *, as_json: bool) -> int:
    with redirect_stdout(sys.stderr):  # what the scenario prints must not get into the JSON
        scenario = loader.load(loader.find(name))
        manifest = scenario.manifest()
    if as_json:
        click.echo(
            json.dumps(
                {
                    "name": manifest.scenario,
                    "path": shown(scenario.path),
                    "docstring": manifest.docstring,
                    "callbacks": manifest.callbacks,
                    "settings": [
                        {**asdict(setting), "value": None, "source": ""}
                        for setting in manifest.settings
                    ],
                },
                indent=2,
                ensure_ascii=False,
            )
        )
        return EXIT_FINISHED
    click.echo(f"{manifest.scenario} ({shown(scenario.path)})\n")
    if manifest.docstring:
        click.echo(f"{_wrapped(manifest.docstring)}\n")
    click.echo(f"Callbacks: {', '.join(manifest.callbacks)}\n")
    if not manifest.settings:
        click.echo("It declares no settings.")
        return EXIT_FINISHED
    click.echo("Settings, given by --set NAME=VALUE or AMOC_<NAME>:\n")
    for setting in manifest.settings:
        _show(setting)
    return EXIT_FINISHED


def _show(setting: DeclaredSetting) -> None:
    """Write one setting: its name, type and default, then what it means."""
    written_out = setting.type in {"duration", "rate"}
    unit = f" {setting.unit}" if setting.unit and not written_out else ""
    default = setting.default if setting.default else '""'
    click.echo(f"  {click.style(setting.name, bold=True)} = {default}{unit}  ({setting.type})")
    notes = [setting.description]
    if setting.allowed:
        notes.append(f"one of {', '.join(setting.allowed)}")
    if setting.update:
        notes.append("may change during a run")
    click.echo(_wrapped("; ".join(notes), "      "))


def _wrapped(text: str, indent: str = "") -> str:
    """Return `text` in paragraphs as wide as the terminal, 100 columns at most."""
    width = min(shutil.get_terminal_size().columns, 100)
    return click.wrap_text(text, width, indent, indent, preserve_paragraphs=True)
