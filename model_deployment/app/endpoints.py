"""Builds endpoints: the loop that follows aliases, and what it looks at candidates with."""

import contextlib
from collections.abc import Mapping
from typing import Any

import aiohttp

from model_deployment.alerts.webhook import Webhook
from model_deployment.app.background import in_background
from model_deployment.app.monitoring import MonitoringParts
from model_deployment.app.serving import ServingParts
from model_deployment.control.controller import Controller
from model_deployment.core.domain import Deployment
from model_deployment.core.endpoints import Endpoint, Rollout, RolloutState
from model_deployment.core.rollout_counts import RolloutCounts
from model_deployment.documents.base import StoreUnavailable
from model_deployment.endpoints.aliases import AliasWatch
from model_deployment.endpoints.collaborators import Candidate, RolloutCollaborators
from model_deployment.endpoints.comparison.comparison import comparison, figures
from model_deployment.endpoints.decide import Work
from model_deployment.endpoints.evidence import RolloutEvidence
from model_deployment.endpoints.findings import CandidateFinding, Judgement
from model_deployment.endpoints.guards.judge import judge
from model_deployment.endpoints.guards.label_watch import LabelWatch
from model_deployment.endpoints.loop import EndpointLoop
from model_deployment.endpoints.news import RolloutNews, WriteBack
from model_deployment.endpoints.replay.candidate_check import check_candidate
from model_deployment.endpoints.replay.examined_version import ExaminedVersion, examined
from model_deployment.endpoints.replay.replay import ReplayLimits, replay
from model_deployment.endpoints.route import routes
from model_deployment.endpoints.service import Endpoints
from model_deployment.endpoints.usage import needed_ready
from model_deployment.registry.client import Registry
from model_deployment.registry.rollout_tags import RolloutTags
from model_deployment.settings import Settings
from model_deployment.state.database import Database
from model_deployment.state.endpoints import EndpointStore
from model_deployment.state.rollouts import RolloutStore


async def publish_known(database: Database, serving: ServingParts) -> None:
    """Route as the rows say, before any proxy is told of deployments, and park nothing that is needed."""
    pairs = await EndpointStore(database).all()
    serving.data_plane.publish_endpoints(routes(pairs))
    serving.kept_ready.replace(needed_ready(pairs), await serving.deployments.all())


class _Examinations:
    """Looks at candidates: finds the files and the addresses of both versions first."""

    def __init__(
        self,
        settings: Settings,
        serving: ServingParts,
        monitoring: MonitoringParts,
        session: aiohttp.ClientSession,
    ) -> None:
        self._serving = serving
        self._documents = monitoring.documents
        self._session = session
        self._timeout = settings.request_timeout

    async def check(self, subject: Candidate) -> CandidateFinding:
        return await check_candidate(
            await self._version(subject.candidate),
            await self._version(subject.champion) if subject.champion else None,
            subject.endpoint.policy.checks,
            await self._documents.opened(),
            self._session,
            timeout=self._timeout,
        )

    async def replay(self, subject: Candidate) -> CandidateFinding:
        champion, policy = subject.champion, subject.endpoint.policy
        assert champion is not None  # noqa: S101 - the first version has no replay
        workers = champion.options.workers
        before = RolloutEvidence.from_dict(subject.rollout.evidence).replay

        def busy() -> bool:
            return self._serving.data_plane.counters(champion.key).in_flight > workers

        return await replay(
            await self._version(subject.candidate),
            await self._version(champion),
            ReplayLimits(policy.checks.replay, each=self._timeout),
            await self._documents.opened(),
            self._session,
            guard=policy.guard,
            busy=busy,
            doubted=before.figures.get("doubted", 0) if before else 0,
        )

    async def compare(self, endpoint: Endpoint, rollout: Rollout) -> dict[str, Any]:
        documents = None
        with contextlib.suppress(StoreUnavailable):
            documents = await self._documents.opened()
        return await comparison(endpoint, rollout, documents)

    async def _version(self, row: Deployment) -> ExaminedVersion:
        address = row.handle.address if row.handle else None
        path = self._serving.cache.path(row.artifact)
        return await examined(self._serving.description, path, row.key, row.options, address)


def build_endpoints(
    settings: Settings,
    database: Database,
    controller: Controller,
    serving: ServingParts,
    monitoring: MonitoringParts,
    webhook: Webhook,
    stack: contextlib.AsyncExitStack,
) -> Endpoints:
    """Build the parts and start the loop; the stack ends it."""
    session = aiohttp.ClientSession()
    stack.push_async_callback(session.close)
    store, rollouts = EndpointStore(database), RolloutStore(database)
    examinations = _Examinations(settings, serving, monitoring, session)
    news = RolloutNews(
        webhook.call,
        examinations.compare,
        _write_back(serving.registry) if settings.metrics_to_mlflow else None,
        rollouts.note_told,
    )
    stack.push_async_callback(news.close)

    labels = LabelWatch(monitoring.documents)
    stack.push_async_callback(labels.close)

    def ended(endpoint: Endpoint, rollout: Rollout) -> None:
        labels.forget(rollout.id)
        news.tell(endpoint, rollout)

    admission, plane = serving.admission, serving.data_plane
    world = RolloutCollaborators(
        store=store,
        rollouts=rollouts,
        deployments=serving.deployments,
        controller=controller,
        publish=plane.publish_endpoints,
        routed=plane.routed,
        counts=plane.rollout_counts,
        examine={Work.CHECK: examinations.check, Work.REPLAY: examinations.replay},
        judge=_Guards(labels).judge,
        memory_short=lambda: admission.free() < admission.margin,
        ended=ended,
    )
    watch = AliasWatch(serving.registry.aliases, settings.alias_poll)
    loop = EndpointLoop(world, watch, serving.kept_ready)
    stack.push_async_callback(loop.close)
    in_background(stack, loop.run(), "endpoints")
    return Endpoints(
        serving.registry.aliases,
        store=store,
        rollouts=rollouts,
        deployments=serving.deployments,
        loop=loop,
        compare=examinations.compare,
    )


class _Guards:
    """Judges what was counted, with what labels say."""

    def __init__(self, labels: LabelWatch) -> None:
        self._labels = labels

    def judge(
        self, endpoint: Endpoint, rollout: Rollout, saved: Mapping[str, Any], counts: RolloutCounts
    ) -> tuple[Mapping[str, Any], Judgement | None]:
        if not rollout.stage:
            return saved, None
        labelled = None
        if rollout.state is RolloutState.CANARY and endpoint.policy.guard.quality:
            bound = saved.get("quality", {}).get("bound")
            labelled = self._labels.of(endpoint, rollout, bound)
        return judge(saved, rollout, endpoint.policy, counts, labelled)


def _write_back(registry: Registry) -> WriteBack:
    tags = RolloutTags(registry)

    async def write(endpoint: Endpoint, rollout: Rollout, compared: Mapping[str, Any]) -> str:
        key = endpoint.key(rollout.candidate)
        return await tags.write(
            key, endpoint.name, str(rollout.state), rollout.reason, figures(compared)
        )

    return write
