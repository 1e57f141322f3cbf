"""Rows of `name number number ...` from bytes to arrays, many at a time, equal to Python's float() to the last bit.

A decimal of at most 15 digits is an integer below 2^53 divided by a power of ten not above 10^22; both are exact in
float64 and IEEE division rounds once, so the quotient is the correctly rounded value (W. Clinger, PLDI 1990).
All tokens of one length are decoded together, a few array operations for each character position.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_DIGITS = 15
_POWERS = 10.0 ** np.arange(MAX_DIGITS + 1)
_SPACE, _TAB, _LINE_FEED, _RETURN = 32, 9, 10, 13
_MINUS, _PLUS, _DOT, _ZERO = 45, 43, 46, 48


class IrregularText(Exception):
    """The text is no clean table: a parser that goes line by line has to read it, or to say what is wrong with it."""


def parse_rows(text: bytes, fields: int) -> tuple[NDArray[np.bytes_], NDArray[np.float64], NDArray[np.intp]]:
    """Names [n], values [fields - 1, n] and the byte offset [n] of each row of a text whose lines have `fields` tokens.

    Blank lines are skipped. Raises IrregularText for anything else than a name and decimal numbers on every line.
    """
    characters = np.frombuffer(text, np.uint8)
    starts, ends = _tokens(characters)
    line_ends = np.append(np.flatnonzero(characters == _LINE_FEED), len(characters))
    tokens_in_line = np.diff(np.searchsorted(starts, line_ends), prepend=0)
    if not np.isin(tokens_in_line, (0, fields)).all():
        raise IrregularText
    starts, ends = starts.reshape(-1, fields).T, ends.reshape(-1, fields).T
    names = _strings(characters, starts[0], ends[0] - starts[0])
    values = _numbers(text, characters, starts[1:].ravel(), ends[1:].ravel())
    return names, values.reshape(fields - 1, -1), starts[0]


def _tokens(characters: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where each run of characters that are not blank starts, and where it ends (exclusive)."""
    inked = np.zeros(len(characters) + 2, np.bool_)
    np.greater(characters, _SPACE, out=inked[1:-1])
    blanks = characters[~inked[1:-1]]
    known = (blanks == _SPACE) | (blanks == _LINE_FEED) | (blanks == _RETURN) | (blanks == _TAB)
    if not known.all():
        raise IrregularText
    borders = np.flatnonzero(inked[1:] != inked[:-1])
    return borders[::2], borders[1::2]


def _strings(characters: NDArray[np.uint8], starts: NDArray[np.intp], lengths: NDArray[np.intp]) -> NDArray[np.bytes_]:
    """The tokens themselves [n], as fixed-width byte strings."""
    width = int(lengths.max(initial=1))
    letters = np.zeros((len(starts), width), np.uint8)
    for k in range(width):
        long_enough = np.flatnonzero(lengths > k)
        letters[long_enough, k] = characters[starts[long_enough] + k]
    return letters.view(f"S{width}").ravel()


def _numbers(
    text: bytes, characters: NDArray[np.uint8], starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The value [n] of each token."""
    values = np.empty(len(starts))
    lengths = ends - starts
    for length in np.flatnonzero(np.bincount(lengths)).tolist():
        chosen = np.flatnonzero(lengths == length)
        begin = starts[chosen]
        decoded, plain = _decimals(characters, begin, length)
        for i in np.flatnonzero(~plain):  # exponents, inf, nan, very long numbers, and what is no number at all
            decoded[i] = _number(text[begin[i] : begin[i] + length])
        values[chosen] = decoded
    return values


def _number(token: bytes) -> float:
    if b"_" in token:  # float() reads 1_0 as 10
        raise IrregularText
    try:
        return float(token)
    except ValueError:
        raise IrregularText from None


def _decimals(
    characters: NDArray[np.uint8], begin: NDArray[np.intp], length: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values [n] of tokens that all have `length` characters, and whether each is plain: [+-]digits[.digits]."""
    if length > MAX_DIGITS + 2:
        return np.zeros(len(begin)), np.zeros(len(begin), np.bool_)
    mantissa: NDArray[np.int64] = np.zeros(len(begin), np.int64)
    digits, dots, decimals = np.zeros((3, len(begin)), np.int8)
    first = characters[begin]
    signed = (first == _MINUS) | (first == _PLUS)
    for k in range(length):
        character = characters[begin + k] if k else first
        digit = character - np.uint8(_ZERO)  # wraps round: everything that is no digit is above 9
        is_digit = digit <= 9
        dot = character == _DOT
        mantissa = np.where(is_digit, mantissa * 10 + digit, mantissa)
        decimals += dots & is_digit
        digits += is_digit
        dots += dot
    plain = (digits > 0) & (digits <= MAX_DIGITS) & (dots <= 1) & (digits + dots + signed == length)
    values = mantissa / _POWERS[np.clip(decimals, 0, MAX_DIGITS)]
    return np.where(first == _MINUS, -values, values), plain
