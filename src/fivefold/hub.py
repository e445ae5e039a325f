"""Models on the Hugging Face Hub: fetched by address, and sent there; the package that does it is an extra."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fivefold.atomic import MODEL_FILES
from fivefold.errors import ModelError, UsageError

_ADDRESS = re.compile(r"hf:/+(?P<name>[^/@]+/[^/@]+)(@(?P<revision>.+))?")  # one slash where it was taken for a path
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def is_address(path: str | Path) -> bool:
    """Whether it is the address of a model on the Hub, such as `hf://user/name@revision`, not a path."""
    return Path(path).as_posix().startswith("hf:/")


def located(path: Path) -> Path:
    """The folder of a model: of one on the Hub where its files were fetched to, else the path as it is.

    Raises
    ------
    UsageError : for what looks like an address and is none, or if the extra is not installed
    ModelError : if there is no such model, or the Hub can't be reached
    """
    if not is_address(path):
        return path
    text = path.as_posix()
    found = _ADDRESS.fullmatch(text)
    address = text.replace("hf:/", "hf://").replace("///", "//")
    if found is None:
        raise UsageError(f"a model on the Hub is hf://user/name or hf://user/name@revision, got {address}")
    with _errors(address):
        from huggingface_hub import hf_hub_download

        revision = found["revision"]
        for name in MODEL_FILES:  # all of the first one's commit
            file = Path(hf_hub_download(found["name"], name, revision=revision))
            revision = file.parent.name
    return file.parent


def upload(name: str, files: Mapping[str, bytes], *, message: str, private: bool) -> str:
    """Files by their names into the repository `user/name`, which is made if there is none, as one commit: its URL.

    Raises
    ------
    UsageError : if `name` can't be a repository's, or the extra is not installed
    ModelError : if the Hub refuses, or can't be reached
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"`name` must be user/name, got {name!r}")
    with _errors(f"hf://{name}"):
        from huggingface_hub import CommitOperationAdd, HfApi

        api = HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        operations = [CommitOperationAdd(path, content) for path, content in files.items()]
        return str(api.create_commit(name, operations, commit_message=message).commit_url)


@contextmanager
def _errors(address: str) -> Iterator[None]:
    """The Hub's errors as ours, in one line that says what to do."""
    try:
        from httpx2 import HTTPError
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ModuleNotFoundError:
        raise UsageError("models on the Hub need an extra: pip install fivefold[hub]") from None
    try:
        yield
    except RevisionNotFoundError:
        raise ModelError(f"{address}: the model has no such revision") from None
    except RepositoryNotFoundError:
        raise ModelError(f"{address}: no such model on the Hub, or a private one; for those: hf auth login") from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ModelError(
            f"{address}: {_unreachable()}, and it was not fetched before; give a model's folder"
        ) from error
    except EntryNotFoundError:
        raise ModelError(f"{address}: is no model of Fivefold, it lacks {' or '.join(MODEL_FILES)}") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ModelError(f"{address}: the Hub wants a token that may do this: hf auth login, or HF_TOKEN") from None
        raise ModelError(f"{address}: the Hub answered {status}: {str(error).splitlines()[0]}") from None
    except HTTPError:
        raise ModelError(f"{address}: {_unreachable()}; is there a network?") from None


def _unreachable() -> str:
    offline = os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
    return "HF_HUB_OFFLINE is set" if offline else "the Hub can't be reached"
