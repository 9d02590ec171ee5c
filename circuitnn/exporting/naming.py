"""Names for namespaces and files of C++."""

from __future__ import annotations

import math

from circuitnn.runtime.compiler import HEADERS

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


def identifier(name: str) -> str:
    """A name of letters, digits and underscores, and none that C++, its library or a run-time header has already."""
    letters = "".join(c if c.isascii() and c.isalnum() else "_" for c in name).strip("_")
    letters = letters if letters[:1].isalpha() else f"circuit_{letters}".rstrip("_")
    taken = {*KEYWORDS.split(), *LIBRARY.split(), *dir(math), *(header.stem for header in HEADERS.glob("*.hpp"))}
    return f"{letters}_circuit" if letters in taken else letters
