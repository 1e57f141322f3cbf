"""The words that the commands of this room share."""

from __future__ import annotations

from pathlib import Path

from system.command import Parser, count


def add_data(parser: Parser, required: bool, default: str = "the one to validate on") -> None:
    add = parser.add_argument
    add("--data", type=Path, required=required, metavar="ROOT", help="a data set")
    add("--split", help=f"val, train, all, a list in ROOT/ImageSets, a classifier's folder (default: {default})")
    add("--max", type=count, metavar="N", help="at most N frames, evenly spread over the split (default: all)")


def add_answer(parser: Parser) -> None:
    add = parser.add_argument
    add("--json", metavar="OUT", help="write all numbers as JSON; - prints them, and nothing else")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")
