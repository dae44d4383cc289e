"""The distribution a check judged: how often each thing was found, and numbers that the UI plots from run to run.

What is worth counting is the check's business. Bounded in size, because it stays in the event log for good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import dagster as dg

_LINES = 12
_BAR = 20


@dataclass(frozen=True)
class Distribution:
    """How many of `counted` ("days", "keys") had each finding, in the order to be shown, with `numbers` to plot."""

    counted: str
    counts: Mapping[str, int]
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, Any]:
        """A table with one line for each finding, the last for all that are left; and the numbers."""
        total = sum(self.counts.values())
        if not total:
            return dict(self.numbers)
        lines = list(self.counts.items())
        if len(lines) > _LINES:
            rest = lines[_LINES - 1 :]
            lines = [*lines[: _LINES - 1], (f"{len(rest)} other findings", sum(count for _, count in rest))]
        records = [
            dg.TableRecord({"found": found, self.counted: count, "share": _share(count, total)})
            for found, count in lines
        ]
        return {"judged": dg.MetadataValue.table(records), **self.numbers}


def counted(counted: str, findings: Iterable[str]) -> Distribution:
    """The findings by how often they occur, the most frequent first."""
    return Distribution(counted, dict(Counter(findings).most_common()))


def n_rows(count: int) -> str:
    """A number of rows, as a finding."""
    return "1 row" if count == 1 else f"{count} rows"


def bins(edges: Sequence[float]) -> list[str]:
    """The names of the bins between ascending edges, with the two that are open."""
    between = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
    return [f"below {edges[0]:.3g}", *between, f"above {edges[-1]:.3g}"]


def _share(count: int, total: int) -> str:
    """A bar and a percentage; what is there at all is seen."""
    return f"{'█' * max(round(_BAR * count / total), 1 if count else 0)} {count / total:.3%}"
