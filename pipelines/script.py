"""What the scripts of training and evaluation share: how a foreseen error ends."""

from __future__ import annotations

from typing import Any

import click

from ship_geo.cli.shell import FAILURE, USAGE
from ship_geo.errors import ArgumentError, ShipGeoError


class Script(click.Command):
    """A command whose foreseen errors end in one paragraph and an exit code; a fault keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader has gone, as `head` does
        except (ShipGeoError, OSError) as error:
            message = str(error)
            if isinstance(error, OSError):
                message = f"files are read and written, got {error}; check the path, its rights and the disk"
            failed = click.ClickException(message)
            failed.exit_code = USAGE if isinstance(error, ArgumentError) else FAILURE
            raise failed from error
