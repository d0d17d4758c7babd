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
from compactor.source.base import SourceConfig

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Credentials:
    """A key to AWS as it is now: it may expire, and does not renew itself. `region` is the one that goes with it."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)
    region: str | None


def credentials() -> Credentials | None:
    """What boto3's own chain finds (environment, profile, SSO, web identity, instance); None if that is nothing.

    For an engine that reads S3 by itself. Raises CompactorError where there are credentials that cannot be had.
    """
    try:
        session = boto3.Session()
        found = session.get_credentials()
        frozen = found.get_frozen_credentials() if found else None
    except (BotoCoreError, ClientError) as error:
        raise CompactorError(
            f"the AWS credentials could not be had ({type(error).__name__}); sign in anew, then run again"
        ) from error
    if not frozen or not frozen.access_key or not frozen.secret_key:
        return None
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token, session.region_name)


def s3_client(config: SourceConfig) -> S3Client:
    """A client that several threads may share. Raises the SDK's errors, and ValueError for a malformed endpoint.

    Credentials come from boto3's own chain (environment, profile, SSO, web identity, instance); with `role_arn`
    set, those of the chain only assume that role.
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
        max_pool_connections=config.readers + 1,  # one more for the listing, which runs beside the readers
        # Services other than AWS seldom have a DNS name for each bucket.
        s3={"addressing_style": "path"} if config.endpoint else {},
        # The gzip trailer has a CRC already. S3's own sum covers the whole object, so it would be of no use to a
        # body that is resumed in the middle.
        response_checksum_validation="when_required",
    )


class _AssumedRole(CredentialProvider):
    """Credentials of the configured role, fetched at the first request and again before they expire.

    STS is found by botocore's own rules, not at `endpoint`: that may be a VPC endpoint which serves S3 alone.
    AWS_ENDPOINT_URL_STS names another STS.
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
