"""The words that the commands of this room share, and how they answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from system.command import Parser, count
from system.files import write_text


def add_data(parser: Parser, required: bool, split: str = "val") -> None:
    add = parser.add_argument
    add("--data", type=Path, required=required, metavar="ROOT", help="a data set")
    add("--split", default=split, help="its frames: val, train, all, a list in ROOT/ImageSets (default: %(default)s)")
    add("--max", type=count, metavar="N", help="at most N frames, evenly spread over the split (default: all)")


def add_answer(parser: Parser) -> None:
    add = parser.add_argument
    add("--json", metavar="OUT", help="write all numbers as JSON; - prints them, and nothing else")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")


def tell(report: dict[str, Any], text: str, json_to: str | None) -> None:
    """The text, and the report as JSON where asked for; with "-" the report alone."""
    as_json = json.dumps(report, indent=1, allow_nan=False)
    if json_to == "-":
        print(as_json)
        return
    if json_to:
        Path(json_to).parent.mkdir(parents=True, exist_ok=True)
        write_text(json_to, as_json + "\n")
    print(text)
