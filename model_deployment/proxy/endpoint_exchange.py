"""One request for an endpoint: the champion answers it, or the candidate of a rollout."""

from collections.abc import Callable
from time import monotonic

from model_deployment.core.endpoints import SHADOW_STAGE
from model_deployment.core.errors import (
    DeployFailed,
    ModelDeploymentError,
    NotReached,
    NotReady,
    TooBusy,
)
from model_deployment.gate import CheckResult
from model_deployment.proxy import problems
from model_deployment.proxy.answers import UpstreamAnswer
from model_deployment.proxy.body_reservation import BodyReservation
from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.endpoint_table import EndpointEntry
from model_deployment.proxy.exchange import Exchange
from model_deployment.proxy.outbox import Outbox
from model_deployment.proxy.rollout_counter import REFUSED, Arm, RequestOutcome
from model_deployment.proxy.route_entry import RouteEntry
from model_deployment.proxy.service import Service
from model_deployment.proxy.shadow import RequestCopy, Shadows
from model_deployment.proxy.split import ROUTE_KEY, SHADOW, position
from model_deployment.proxy.upstream_call import Unsent
from model_deployment.proxy.validate import Validated

_NOT_ENOUGH_MEMORY = 507

#: What a path as it came over the wire leads to now.
Lookup = Callable[[bytes], RouteEntry | EndpointEntry | None]


async def answer_endpoint(
    context: ExchangeContext,
    outbox: Outbox,
    endpoint: EndpointEntry,
    request: CallerRequest,
    shadows: Shadows,
    lookup: Lookup,
) -> None:
    """Answer a request for an endpoint."""
    champion = endpoint.champion
    if champion is not None:
        exchange = EndpointExchange(context, outbox, endpoint, champion, request, shadows, lookup)
        await exchange.run()
    elif request.method != "POST":
        problems.respond(request, problems.NOT_POST)
    else:
        problems.respond(request, problems.no_champion(endpoint.route))


class EndpointExchange(Exchange):
    """Picks the version, and counts what became of the request for the rollout.

    A request belongs to the version that was picked, also where the champion answers in its place.
    """

    def __init__(
        self,
        context: ExchangeContext,
        outbox: Outbox,
        endpoint: EndpointEntry,
        champion: RouteEntry,
        request: CallerRequest,
        shadows: Shadows,
        lookup: Lookup,
    ) -> None:
        super().__init__(context, outbox, champion, request)
        self.endpoint = endpoint.label
        self._endpoint = endpoint
        self._champion = champion
        self._shadows = shadows
        self._lookup = lookup
        self._route_key = request.named.get(ROUTE_KEY) or None
        self._content: bytes | None = None
        self._arm = Arm.CHAMPION
        #: The candidate's gate has refused it: its failure, if the champion accepts it.
        self._refused = False
        #: What became of it is counted, or says nothing of the version that was picked.
        self._settled = endpoint.counter is None or not endpoint.route.stage
        self._shadowed: RequestOutcome | None = None
        #: The answer of the version that was asked.
        self._said: bytes | None = None

    async def run(self) -> None:
        await super().run()
        if self._shadowed is not None:
            self._offer_copy(self._shadowed)

    async def _predict(self) -> None:
        if self._meets_candidate():
            candidate = self._endpoint.candidate
            if candidate is None or candidate.service is None:
                self._miss(candidate)
            elif await self._ask_candidate(candidate, candidate.service):
                return
            self._entry, self._arm = self._champion, Arm.CHAMPION
        await self._ask_champion()

    async def _ask_champion(self) -> None:
        """Have the champion answer, or the one that has taken its place while the request waited."""
        while True:
            try:
                return await super()._predict()
            except (DeployFailed, NotReady):  # nothing was sent
                now = self._lookup(self._request.path)
                champion = now.champion if isinstance(now, EndpointEntry) else None
                if champion is None or champion.route.key == self._champion.route.key:
                    raise
                self._entry = self._champion = champion

    def _meets_candidate(self) -> bool:
        route = self._endpoint.route
        if route.share <= 0:
            return False
        key = self._route_key or self._request.request_id
        return position(route.rollout, key) < route.share

    async def _ask_candidate(self, candidate: RouteEntry, service: Service) -> bool:
        """Have the candidate answer.

        Returns:
            False if the champion is to answer: nothing was sent to the candidate.
        """
        # The champion's budget, as it may have to answer.
        holder = (self._champion.service or service).targets[0]
        with BodyReservation(holder.upstream) as reservation:
            content = await self._read(reservation)
            self._entry, self._arm = candidate, Arm.CANDIDATE
            try:
                validated, request = await self._prepare(service, content)
            except ModelDeploymentError:
                self._refused = True
                return False
        try:
            await self._ask(service.targets[0], validated, request, set())
        except Unsent as error:
            self._count(str(error.status))
            return False
        except TooBusy:
            self._settled = True
            return False
        return True

    def _miss(self, candidate: RouteEntry | None) -> None:
        """The candidate does not serve: its fault if it did before, and its process is gone."""
        counter = self._endpoint.counter
        served = counter is not None and counter.candidate_served
        if served and candidate is not None and not candidate.route.serves:
            self._arm = Arm.CANDIDATE
            self._count(str(NotReached.status))
        self._settled = True

    async def _read(self, reservation: BodyReservation) -> bytes:
        if self._content is None:
            self._content = await super()._read(reservation)
        return self._content

    # ---- What became of it

    def _count(self, failure: str = "") -> None:
        counter = self._endpoint.counter
        if self._settled or counter is None:
            return
        self._settled = True
        stage = self._endpoint.route.stage
        outcome = RequestOutcome(monotonic() - self._began, failure)
        if self._refused:
            if not failure:
                refusal = RequestOutcome(0.0, REFUSED)
                counter.count(stage, Arm.CANDIDATE, refusal, self._route_key)
        elif stage == SHADOW_STAGE:
            self._shadowed = outcome
        else:
            counter.count(stage, self._arm, outcome, self._route_key)

    def _record_prediction(
        self, validated: Validated, content: bytes | Callable[[], bytes], unkept: int = 0
    ) -> None:
        # Streams are not compared.
        self._said = content if isinstance(content, bytes) else None
        self._count()
        super()._record_prediction(validated, content, unkept)

    def _record_relayed(self) -> None:
        self._count()
        super()._record_relayed()

    def _note_cut(self, problem: ModelDeploymentError) -> None:
        self._count(str(problem.status))
        super()._note_cut(problem)

    def _record_failure(self, status: int) -> None:
        if status >= 500 and status != _NOT_ENOUGH_MEMORY:
            self._count(str(status))
        super()._record_failure(status)

    async def _answer(self, answer: UpstreamAnswer, validated: Validated) -> None:
        try:
            await super()._answer(answer, validated)
        except ModelDeploymentError as error:
            # What the model itself refuses tells versions apart, as the gate's refusals do.
            self._count(str(error.status))
            raise

    def _record_violations(self, result: CheckResult) -> None:
        # Where the candidate's gate refuses a request, the champion answers.
        if self._arm is Arm.CHAMPION or not result.refused:
            super()._record_violations(result)

    def _offer_copy(self, champion: RequestOutcome) -> None:
        route, request = self._endpoint.route, self._request
        if self._content is None:
            return
        streamed = self._stream is not None
        if streamed or position(route.rollout, request.request_id, SHADOW) >= route.shadow:
            if (counter := self._endpoint.counter) is not None:
                counter.leave(route.stage, champion, self._route_key)
            return
        self._shadows.offer(
            RequestCopy(
                self._endpoint,
                request.request_id,
                request.headers,
                request.named,
                request.query,
                self._content,
                champion,
                self._said,
                self._route_key,
            )
        )
