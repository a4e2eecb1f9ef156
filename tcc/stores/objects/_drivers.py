"""The packages that speak to each kind of storage, and what their faults mean, in words."""

from __future__ import annotations

import errno
import importlib
import os
import re
from typing import Any, NamedTuple

from tcc.errors import StoreError

AT_ONCE = 32  # calls, where many objects are read
CONNECT_S, ANSWER_S = 5, 20  # for one call: until it is connected, and between two bytes
_NOWHERE = re.compile(r"specified (bucket|container) does not exist", re.IGNORECASE)
_LOCAL_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # no server says these


class Driver(NamedTuple):
    """The package that speaks to one kind of storage."""

    package: str
    extra: str  # of tcc, that installs it
    faults: tuple[str, ...]  # module:class of what it raises beside OSError
    credentials: str
    place: str  # where it is told which server to ask


_S3 = Driver(
    "s3fs",
    "s3",
    ("botocore.exceptions:BotoCoreError", "aiohttp:ClientError"),
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "AWS_ENDPOINT_URL",
)
_GCS = Driver(
    "gcsfs",
    "gcs",
    ("gcsfs.retry:HttpError", "aiohttp:ClientError", "google.auth.exceptions:GoogleAuthError"),
    "GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`",
    "STORAGE_EMULATOR_HOST",
)
_AZURE = Driver(
    "adlfs",
    "azure",
    ("azure.core.exceptions:AzureError", "aiohttp:ClientError"),
    "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_CONNECTION_STRING",
)
DRIVERS = {"s3": _S3, "gs": _GCS, "gcs": _GCS, "abfs": _AZURE, "az": _AZURE}


def connect(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the URI's path in it.

    Raises:
        StoreError: its driver is not installed; names the extra that installs it.
    """
    import fsspec

    scheme = uri.partition("://")[0]
    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme == "s3":
        limits = {"connect_timeout": CONNECT_S, "read_timeout": ANSWER_S}
        limits |= {"max_pool_connections": AT_ONCE}
        options["config_kwargs"] = limits | {"retries": {"total_max_attempts": 1}}
    try:
        system, path = fsspec.url_to_fs(uri, **options)
    except ImportError as error:
        driver = DRIVERS[scheme]
        raise StoreError(
            f"store {uri} needs the package {driver.package}; "
            f"install it with `pip install 'tcc[{driver.extra}]'`"
        ) from error
    if scheme == "s3":
        system.retries = 1
    return system, path


def faults(driver: Driver) -> tuple[type[BaseException], ...]:
    """The errors that an installed driver raises."""
    found: list[type[BaseException]] = [OSError, ValueError]  # of a bucket's name that cannot be
    for name in driver.faults:
        module, _, cls = name.partition(":")
        found.append(getattr(importlib.import_module(module), cls))
    return tuple(found)


def in_vain(error: BaseException, driver: Driver, bucket: str) -> str | None:
    """Why it is in vain to ask again; None: it may not be."""
    kind = type(error).__name__
    if "Credentials" in kind or "ProfileNotFound" in kind or "AuthError" in kind:
        return f"no credentials for it were found; set {driver.credentials}"
    if isinstance(error, PermissionError):
        return (
            f"the storage refused the credentials ({words(error)}); check {driver.credentials}, "
            f"and what they may do in {bucket}"
        )
    if names_no_bucket(error):
        return f"there is no bucket {bucket}; create it first, or give another --store"
    if isinstance(error, ValueError):
        return words(error)
    if isinstance(error, OSError) and error.errno in _LOCAL_FAULTS:
        fix = "free space, or set TCC_CACHE to another folder"
        return f"{os.strerror(error.errno)} on this machine; {fix}"
    if isinstance(error, OSError) and error.errno == errno.EINVAL:
        return words(error)
    return None


def names_no_bucket(error: BaseException) -> bool:
    """Whether it is not the object that is missing."""
    return _NOWHERE.search(str(error)) is not None


def words(error: BaseException) -> str:
    """What an error says, on one line."""
    text = (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip()
    return text.splitlines()[0][:200]
