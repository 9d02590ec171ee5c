"""Compiles generated C++ at first use and keeps the result, named by a hash of everything that went into it."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import platformdirs

from circuitnn.errors import CompilerError

HEADERS = Path(__file__).parent
# Strict IEEE semantics stay on (NaN must be seen); errno and floating-point traps are what nobody here reads.
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fno-exceptions",
    "-fPIC", "-shared",
)  # fmt: skip
# Compilers use half of a 512-bit register unless told otherwise, because it does not pay for short columns.
WIDE = ("-mprefer-vector-width=512",) if platform.machine() in ("x86_64", "AMD64") else ()
COMPILER_HINT = "install g++ or clang, or `pip install circuitnn[compiler]`, or name a compiler in $CXX"


def cache_folder() -> Path:
    """Where compiled circuits are kept: $CIRCUITNN_CACHE, else the user's cache folder."""
    given = os.environ.get("CIRCUITNN_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("circuitnn"))


@cache
def find_compiler() -> tuple[str, ...] | None:
    """The command of a C++17 compiler: $CXX, the one in the ziglang package, or the system's; None if there is none.

    Clang comes first, which ziglang holds too: it keeps small matrices in registers where gcc does not, and large
    circuits run up to twice as fast.
    """
    given = os.environ.get("CXX")
    if given:
        return tuple(given.split())
    if importlib.util.find_spec("ziglang"):
        # zig would first build a C++ standard library, which the headers do not need.
        return (sys.executable, "-m", "ziglang", "c++", "-nostdlib++")
    for name in ("clang++", "g++", "c++"):
        if found := shutil.which(name):
            return (found,)
    return None


@cache
def _machine() -> str:
    """What -march=native depends on, so that a cache shared between machines never serves the wrong code."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "".join(line for line in dict.fromkeys(lines) if line.startswith(("model name", "flags", "Features")))
    except OSError:
        return platform.processor() + platform.machine()


def compile_library(source: str, wide: bool = False) -> ctypes.CDLL:
    """The shared library of `source`, compiled or from the cache. wide: for work that fills the widest registers.

    Raises CompilerError if there is no compiler or it fails.
    """
    compiler = find_compiler()
    if compiler is None:
        raise CompilerError("no C++ compiler was found", COMPILER_HINT)
    flags = (*FLAGS, *WIDE) if wide else FLAGS
    headers = "".join(path.read_text() for path in sorted(HEADERS.glob("*.hpp")))
    recipe = "\0".join([source, headers, *compiler, *flags, _machine(), platform.system()])
    library = cache_folder() / f"{hashlib.sha256(recipe.encode()).hexdigest()[:32]}.so"
    if not library.exists():
        _compile(flags, source, library)
    return ctypes.CDLL(str(library))


def run_compiler(arguments: Sequence[str]) -> None:
    """Run the compiler. Raises CompilerError if there is none or it fails."""
    compiler = find_compiler()
    if compiler is None:
        raise CompilerError("no C++ compiler was found", COMPILER_HINT)
    run_command([*compiler, *arguments])


def run_command(command: Sequence[str]) -> None:
    """Run this command of a compiler. Raises CompilerError if it fails."""
    # Zig keeps what it builds for itself: beside what is built here, not in a home folder that may be read-only.
    environment = {"ZIG_GLOBAL_CACHE_DIR": str(cache_folder() / "zig"), **os.environ}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except OSError as error:
        raise CompilerError(f"{command[0]} cannot be run: {error.strerror}", COMPILER_HINT) from None
    if done.returncode != 0:
        raise CompilerError(f"{' '.join(command)} failed:\n{done.stderr.strip()[-2000:]}", COMPILER_HINT)


def _compile(flags: Sequence[str], source: str, library: Path) -> None:
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=library.parent, prefix="build-")
    except OSError as error:
        raise CompilerError(
            f"the cache folder {library.parent} cannot be written: {error.strerror}", "set $CIRCUITNN_CACHE"
        ) from None
    with folder as name:
        text, built = Path(name) / "circuit.cpp", Path(name) / "circuit.so"
        text.write_text(source)
        run_compiler([*flags, f"-I{HEADERS}", str(text), "-o", str(built)])
        # Renaming is atomic: another process sees the whole library or none.
        built.replace(library)
