"""Names for namespaces and files of C++."""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path

from circuitnn.runtime.compiler import HEADERS

TEMPLATES = Path(__file__).parent / "templates"
KEYWORDS = """
alignas alignof and asm auto bitand bitor bool break case catch char class compl const constexpr continue decltype
default delete do double else enum explicit export extern false float for friend goto if inline int long mutable
namespace new noexcept not nullptr operator or private protected public register return short signed sizeof static
struct switch template this throw true try typedef typeid typename union unsigned using virtual void volatile while
xor
"""
# Short names that the C library declares, beside those that Python's math has too.
LIBRARY = """
abs abort atof atoi bsearch calloc clock div drem exit fclose fdim feof fopen fputs fread free ftell fwrite getc
getenv hypot index j0 j1 jn labs ldiv lrint malloc perror printf putc puts qsort raise rand random read realloc remove
rename rewind rindex rint round scalb select setenv signal signgam sleep stderr stdin stdout strdup strlen system
tempnam tgamma time unlink write y0 y1 yn main std circuitnn
"""


@cache
def _of_templates() -> frozenset[str]:
    """The words in the programs that include an export: its namespace must not be called as something there is."""
    texts = (path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.cpp"))
    return frozenset(word for text in texts for word in re.findall(r"[A-Za-z]\w*", re.sub(r"//.*", "", text)))


def identifier(name: str) -> str:
    """A name of letters, digits and underscores, and none that C++, its library or a run-time header has already."""
    letters = "".join(c if c.isascii() and c.isalnum() else "_" for c in name).strip("_")
    letters = letters if letters[:1].isalpha() else f"circuit_{letters}".rstrip("_")
    taken = {
        *KEYWORDS.split(),
        *LIBRARY.split(),
        *dir(math),
        *_of_templates(),
        *(header.stem for header in HEADERS.glob("*.hpp")),
    }
    return f"{letters}_circuit" if letters in taken else letters
