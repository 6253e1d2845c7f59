r"""Every name on its way to a screen or a line goes through here: reversible, and harmless.

What is escaped: the backslash; control characters of C0 and C1; bytes that are not UTF-8; characters that
reorder, hide or break text (bidi controls, zero-width, line separators), that show nothing, or are drawn over
what stands before the name, and all else that is not printable; and what the form itself uses as a delimiter.
A byte is written `\xHH` (for code points below 0x80 that is the same), any other code point `\uHHHH` or
`\UHHHHHHHH`.
"""

from __future__ import annotations

CHAIN_DELIMITERS = "|;"
_MARKS_MAX = 4  # drawn over one character: more are meant to cover the lines around

# Printable by their category, and shown as nothing (Default_Ignorable_Code_Point of DerivedCoreProperties.txt, and
# the empty braille cell): two names that differ by one would look the same.
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
_INVISIBLE_RANGES = (("\u180b", "\u180f"), ("\ufe00", "\ufe0f"), ("\U000e0100", "\U000e01ef"))


def escape(text: str, delimiters: str = "") -> str:
    """Make a name safe to print on one line, losing nothing."""
    if not text.isascii():
        return _escape_unicode(text, delimiters)
    if text.isprintable() and "\\" not in text:
        for mark in delimiters:
            if mark in text:
                break
        else:
            return text
    return "".join(_safe(char, delimiters) for char in text)


def _escape_unicode(text: str, delimiters: str) -> str:
    from unicodedata import category

    pieces = []
    marks = _MARKS_MAX  # as if there were so many before: the first character is drawn over what stands before it
    for char in text:
        is_mark = category(char)[0] == "M"
        marks = marks + 1 if is_mark else 0
        pieces.append(_escaped(char) if marks > _MARKS_MAX or _is_invisible(char) else _safe(char, delimiters))
    return "".join(pieces)


def _safe(char: str, delimiters: str) -> str:
    return _escaped(char) if char == "\\" or char in delimiters or not char.isprintable() else char


def _is_invisible(char: str) -> bool:
    return char in _INVISIBLE or any(first <= char <= last for first, last in _INVISIBLE_RANGES)


def escape_chain(text: str) -> str:
    """Make a name safe in the one-line form, where a plain `unknown` and a last `?` have meanings too."""
    if text == "unknown":
        return r"\x75nknown"
    if text.isalnum() and text.isascii():  # most names, and there are many to write
        return text
    escaped = escape(text, CHAIN_DELIMITERS)
    return f"{escaped[:-1]}\\x3f" if escaped.endswith("?") else escaped


def unescape(text: str) -> str:
    """Give back what `escape` was given."""
    pieces = text.split("\\")
    result = [pieces[0]]
    for piece in pieces[1:]:
        digits = {"x": 2, "u": 4, "U": 8}.get(piece[:1])
        if digits is None:
            raise ValueError(f"no escape begins with {piece[:1]!r}")
        code = int(piece[1 : 1 + digits], 16)
        if piece[0] == "x" and code >= 0x80:
            code += 0xDC00  # a byte that was no UTF-8, as PEP 383 writes it
        result.append(chr(code) + piece[1 + digits :])
    return "".join(result)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
