"""The command line: parses words, calls the package, prints. Exit codes: 0 fine, 1 the work failed, 2 wrong usage.

Heavy imports stay inside the commands, so that --help answers at once. Errors told to users are printed as they are.
"""

from __future__ import annotations

import gc
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stock_weather_pipeline.errors import PipelineError, SettingsError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from stock_weather_pipeline.settings import Settings


_OBJECTS_BETWEEN_COLLECTIONS = 50_000


class _Day(click.ParamType[date]):
    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            return datetime.strptime(value, "%Y-%m-%d").date()  # noqa: DTZ007 - a calendar day has no zone
        except ValueError:
            self.fail(f"{value!r} is not a day; write it as 2024-06-07.", param, ctx)


DAY = _Day()


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (SettingsError, UsageError) as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except PipelineError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Stopped. What was finished is kept; the same command goes on from there.", err=True)
            ctx.exit(1)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise  # click's own business
        except Exception as error:
            if ctx.params["debug"]:
                raise
            click.echo(_bug(error), err=True)
            ctx.exit(1)


def _bug(error: Exception) -> str:
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="stock-weather-", suffix=".txt", delete=False
        ) as file:
            file.write(text)
    except OSError:
        return text  # better than losing it
    return (
        f"Error: this is a bug in stock-weather-pipeline, not your mistake ({type(error).__name__}). "
        f"Please report it with {file.name}, which holds the traceback; --debug shows it at once."
    )


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Settings are environment variables STOCK_WEATHER_* and POLYGON_API_KEY, or lines of a file .env.",
)
@click.option("--debug", is_flag=True, envvar="STOCK_WEATHER_DEBUG", help="Show the traceback of an unexpected error.")
@click.version_option(package_name="stock-weather-pipeline")
def main(debug: bool) -> None:
    """Daily stock prices and weather, from the vendors to audited tables and indicator views.

    \b
    stock-weather run                                  every layer, two years back from yesterday
    stock-weather query "SELECT * FROM macd LIMIT 5"   Athena SQL on what is there
    stock-weather status                               newest day, gaps and failed checks
    stock-weather dashboard --open                     charts, in one file
    stock-weather dev                                  the Dagster UI
    """
    # Modules and events live on: to look for garbage after every 700 objects takes a twentieth of a run.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


@main.command(
    epilog="\b\nExamples:\n"
    "  stock-weather run\n"
    "  stock-weather run --start 2024-01-02 --end 2024-06-28 --tickers NVDA,AMD\n"
    "  stock-weather run --only weather --again\n"
    "\nA ticker that is added later has only its own history fetched; the others are kept."
)
@click.option("--start", type=DAY, help="First day. Default: two years before --end.")
@click.option("--end", type=DAY, help="Last day. Default: yesterday in New York.")
@click.option("--tickers", metavar="A,B", help="Tickers, or * for the whole market. Default: STOCK_WEATHER_TICKERS.")
@click.option("--only", type=click.Choice(["stocks", "weather"]), help="Only one of the two.")
@click.option("--again", is_flag=True, help="Fetch and materialize every day again, even where nothing is missing.")
@click.option("--force", is_flag=True, help="Publish days that shrink below 80 % of their rows.")
@click.option("--sandbox", is_flag=True, help="Use the built-in sandbox (simulated data) although a key is set.")
def run(
    start: date | None,
    end: date | None,
    tickers: str | None,
    only: str | None,
    again: bool,
    force: bool,
    sandbox: bool,
) -> None:
    """Materialize every layer for a range of days, through Dagster.

    Only what is missing is done: a second run changes nothing and says so.
    """
    from stock_weather_pipeline.commands import run as command

    overrides: dict[str, Any] = {"tickers": tickers} if tickers else {}
    if sandbox:
        overrides["sandbox"] = True
    settings = _settings(overrides)
    sys.exit(command.run(_console(), settings, start, end, only, again=again, force=force))


@main.command(
    epilog="\b\nExamples:\n"
    "  stock-weather query \"SELECT * FROM macd WHERE ticker = 'NVDA' ORDER BY trade_date DESC LIMIT 10\"\n"
    '  stock-weather query --format csv "SELECT * FROM weather_daily" > weather.csv\n'
    '  stock-weather query "SELECT reason, count(*) FROM stock_weather_quarantine.stock_prices GROUP BY reason"'
)
@click.argument("sql")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
def query(sql: str, form: str) -> None:
    """Run one SELECT in Athena's SQL on the tables and views."""
    from stock_weather_pipeline.commands import query as command

    command.query(_console(), _settings(), sql, form)


@main.command(
    epilog="\b\nExamples:\n"
    "  stock-weather dashboard --open\n"
    "  stock-weather dashboard --tickers NVDA,AMD --start 2020-01-01 --output charts.html"
)
@click.option("--open", "open_it", is_flag=True, help="Show it in the browser.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write. Default: dashboard.html in the data home.",
)
@click.option("--tickers", metavar="A,B", help="Tickers. Default: all, or the 50 with the highest turnover.")
@click.option("--start", type=DAY, help="First day. Default: five years before the newest.")
@click.option("--end", type=DAY, help="Last day. Default: the newest.")
def dashboard(open_it: bool, output: Path | None, tickers: str | None, start: date | None, end: date | None) -> None:
    """Write the charts into one HTML file that needs no network.

    Ends with 1 when a panel could not be made; the page is written all the same and says why.
    """
    from stock_weather_pipeline.commands import dashboard as command

    sys.exit(command.dashboard(_console(), _settings(), output, tickers, start, end, open_it=open_it))


@main.command(epilog="\b\nExample:\n  stock-weather status")
def status() -> None:
    """Newest day, gaps, quarantine and failed checks of each dataset."""
    from stock_weather_pipeline.commands import status as command

    command.status(_console(), _settings())


@main.command(epilog="\b\nExample:\n  stock-weather doctor")
def doctor() -> None:
    """What is configured, reachable and missing, with the fix."""
    from stock_weather_pipeline.commands import doctor as command

    sys.exit(command.doctor(_console(), _settings()))


@main.command(
    epilog="\b\nExamples:\n  stock-weather sandbox\n  stock-weather sandbox --data ~/market-history --port 8700"
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Replay the files of this folder instead of simulating.",
)
@click.option("--port", type=int, default=8700, show_default=True, help="Port on 127.0.0.1; 0 picks a free one.")
@click.option("--calls-per-minute", type=int, help="Answer 429 beyond this many calls, as the vendor's free plan does.")
def sandbox(data: Path | None, port: int, calls_per_minute: int | None) -> None:
    """Serve both vendors' API on this machine, with simulated data or from files."""
    from stock_weather_pipeline.commands import sandbox as command

    command.sandbox(data, port, calls_per_minute)


@main.command(epilog="\b\nExample:\n  stock-weather rollback stock_prices")
@click.argument("table")
def rollback(table: str) -> None:
    """Undo the newest publish of a prod table.

    The undone days stay out of the table until the command that is printed publishes them again.
    """
    from stock_weather_pipeline.commands import rollback as command

    command.rollback(_console(), _settings(), table)


@main.command(epilog="\b\nExample:\n  stock-weather dev --port 3000")
@click.option("--port", type=int, default=3000, show_default=True, help="Port of the UI on 127.0.0.1.")
def dev(port: int) -> None:
    """Start the Dagster UI with its daemon on what is there. Ctrl-C stops it."""
    from stock_weather_pipeline.commands import dev as command

    command.dev(_console(), _settings(), port)


def _settings(overrides: dict[str, Any] | None = None) -> Settings:
    from stock_weather_pipeline.settings import load_settings

    return load_settings(overrides)


if __name__ == "__main__":
    main()
