"""The S3 client of a source: credentials, an assumed role, timeouts, retries and the connection pool."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from compactor.errors import CompactorError
from compactor.source.base import MOST_READERS, SourceConfig

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Credentials:
    """An AWS key. It may expire, and is not renewed. `region`: the region that is configured beside it."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)
    region: str | None


def credentials() -> Credentials | None:
    """The credentials that boto3's own chain finds (environment, profile, SSO, web identity, instance); None without.

    DuckDB needs them: it reads S3 by itself. Raises CompactorError if configured credentials cannot be obtained.
    """
    try:
        session = boto3.Session()
        found = session.get_credentials()
        frozen = found.get_frozen_credentials() if found else None
    except (BotoCoreError, ClientError) as error:
        raise CompactorError(
            f"the AWS credentials cannot be obtained ({type(error).__name__}); sign in again, then run again"
        ) from error
    if not frozen or not frozen.access_key or not frozen.secret_key:
        return None
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token, session.region_name)


def s3_client(config: SourceConfig) -> S3Client:
    """A client that several threads may share.

    Credentials come from boto3's own chain (environment, profile, SSO, web identity, instance). With `role_arn`, they
    only assume that role. Raises the SDK's errors, and ValueError for a malformed endpoint.
    """
    session = botocore.session.get_session()
    settings = _settings(config)
    if config.role_arn is not None:
        role = _AssumedRole(session, config, settings)
        session.register_component("credential_provider", CredentialResolver([role]))
    return boto3.Session(botocore_session=session).client(
        "s3", region_name=config.region, endpoint_url=config.endpoint, config=settings
    )


def _settings(config: SourceConfig) -> Config:
    return Config(
        connect_timeout=config.connect_timeout,
        read_timeout=config.read_timeout,
        retries={"mode": "standard", "total_max_attempts": config.max_attempts},
        # One more for the listing, which runs beside the readers.
        max_pool_connections=(config.readers or MOST_READERS) + 1,
        # Services other than AWS rarely have a DNS name for each bucket.
        s3={"addressing_style": "path"} if config.endpoint else {},
        # The gzip trailer has a CRC already. S3's own checksum covers the whole object, so it cannot check a body that
        # was resumed in the middle.
        response_checksum_validation="when_required",
    )


class _AssumedRole(CredentialProvider):
    """The credentials of the configured role, fetched at the first request and renewed before they expire.

    botocore's own rules choose the endpoint of STS, not `endpoint`: that may be a VPC endpoint of S3 alone.
    AWS_ENDPOINT_URL_STS sets another one.
    """

    METHOD = "assume-role"

    def __init__(self, session: botocore.session.Session, config: SourceConfig, settings: Config) -> None:
        super().__init__(session)
        self._chain: CredentialResolver = session.get_component("credential_provider")
        self._config = config
        self._sts_client = partial(session.create_client, region_name=config.region, config=settings)

    def load(self) -> DeferredRefreshableCredentials:
        source = self._chain.load_credentials()
        if source is None:
            raise NoCredentialsError
        arguments = {"RoleSessionName": self._config.role_session_name}
        if self._config.external_id is not None:
            arguments["ExternalId"] = self._config.external_id
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=self._sts_client,
            source_credentials=source,
            role_arn=self._config.role_arn or "",
            extra_args=arguments,
        )
        return DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method=self.METHOD)
