"""The pieces of a report in HTML: one file that opens from disk without a network, its pictures inside."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

import cv2
import numpy as np

PAGE = Path(__file__).with_name("page.html")


def page(title: str, body: str) -> bytes:
    """The whole file."""
    return Template(PAGE.read_text(encoding="utf-8")).substitute(title=escape(title), body=body).encode()


def cards(entries: Iterable[tuple[str, str, str]]) -> str:
    """Numbers in large print: what, value, what it is about."""
    return "".join(
        f'<div class="card"><span>{escape(title)}</span><strong>{escape(value)}</strong>'
        f"<span>{escape(under)}</span></div>"
        for title, value, under in entries
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], above: str = "") -> str:
    """The first cell of a row names it. `above`: rows of HTML over the head."""
    titles = "<tr>" + "".join(f"<th>{escape(title)}</th>" for title in head) + "</tr>"
    cells = ("".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) for row in rows)
    body = "".join(f"<tr><th>{escape(row[0])}</th>{line}</tr>" for row, line in zip(rows, cells, strict=True))
    return f'<div class="scroll"><table><thead>{above}{titles}</thead><tbody>{body}</tbody></table></div>'


def figure(picture: np.ndarray | None, text: str, source: str, instead: str) -> str:
    """A picture (RGB [h, w, 3]) of a gallery, or the words `instead` of it, over a text and where it comes from."""
    where = "<br>".join((escape(text), f"<small>{escape(source)}</small>"))
    if picture is None:
        shown = f'<div class="blank">{escape(instead)}</div>'
    else:
        content = data_uri(encode(picture, ".jpg"), "jpeg")
        shown = f'<img loading="lazy" alt="{escape(text)}" src="{content}">'
    return f"<figure>{shown}<figcaption>{where}</figcaption></figure>"


def gallery(figures: Sequence[str], nothing: str) -> str:
    return f'<div class="gallery">{"".join(figures)}</div>' if figures else f"<p>{nothing}</p>"


def themed(pictures: Mapping[str, bytes], alt: str) -> str:
    """The picture for the reader's colour scheme, both inside the page."""
    dark, light = (data_uri(pictures[theme], "png") for theme in ("dark", "light"))
    return (
        f'<div class="scroll"><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{escape(alt)}" src="{light}"></picture></div>'
    )


def contact_sheet(pictures: Sequence[np.ndarray], columns: int = 4, gap: int = 8) -> np.ndarray:
    """Pictures of one size as one."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return cv2.resize(sheet, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)


def encode(picture: np.ndarray, suffix: str) -> bytes:
    """RGB [h, w, 3] as the bytes of a file."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88] if suffix == ".jpg" else []
    return cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)[1].tobytes()


def data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
