"""Settings for every test. pytest puts this folder on sys.path, so helper modules (circuits, reference) are found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Compiling and tracing make the first example slow; time limits per example would only make the tests flaky.
settings.register_profile("circuitnn", deadline=None, print_blob=True)
settings.load_profile("circuitnn")


@pytest.fixture(scope="session", autouse=True)
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled circuits go to $CIRCUITNN_CACHE if it is set, else to a folder for this run that all workers share."""
    if "CIRCUITNN_CACHE" in os.environ:
        yield
        return
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIRCUITNN_CACHE", str(folder))
        yield


def pytest_configure(config: pytest.Config) -> None:
    # torch's own forward mode uses torch.jit.script, which torch 2.10 and later call deprecated.
    config.addinivalue_line("filterwarnings", "ignore:.torch.jit.script. is deprecated:DeprecationWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if shutil.which("ngspice") is None:
        for item in items:
            if item.get_closest_marker("ngspice"):
                item.add_marker(pytest.mark.skip(reason="ngspice is not installed"))


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """What a test draws from torch, first of all its networks' weights, depends on no other test."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small tensors wait longer for torch's threads than they take to compute."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def netlists() -> Path:
    """The folder with the netlists that come with the project."""
    return Path(__file__).parents[1] / "netlists"
