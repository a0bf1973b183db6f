"""Weights from the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from yolor_mtl.records import UserError

USUAL_NAME = "model.safetensors"
"""What the Hub's libraries call a model's file."""


def download_weights(repo: str, filename: str = USUAL_NAME, revision: str | None = None) -> Path:
    """The file of a repository of the Hub, from its cache where it is there already.

    Args:
        repo: ``user/name``.
        filename: a ``.safetensors`` in it.
        revision: a branch, tag or commit; the main branch by default.

    Raises:
        UserError: it cannot be had, is no safetensors, or the library is missing.
    """
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise UserError("from_pretrained needs the library: pip install 'yolor-mtl[hub]'") from error
    if not filename.endswith(".safetensors"):
        raise UserError(f"filename={filename}: only .safetensors are taken from the Hub")
    try:
        return Path(hf_hub_download(repo, filename, revision=revision))
    except HFValidationError as error:
        raise UserError(f"{repo!r} is no name of a repository, such as user/name") from error
    except RevisionNotFoundError as error:
        raise UserError(f"{repo}: there is no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise UserError(f"{repo}: no such repository, or it is not yours to see (hf auth login)") from error
    # What is not in the cache while the Hub cannot be reached is a kind of a missing entry.
    except LocalEntryNotFoundError as error:
        raise UserError(f"{repo}: the Hub cannot be reached, and {filename} is not in its cache here") from error
    except EntryNotFoundError as error:
        raise UserError(f"{repo}: there is no {filename} in it; filename= names another one") from error
    except (HfHubHTTPError, OSError) as error:
        raise UserError(f"{repo}: {filename} could not be had: {error}") from error
