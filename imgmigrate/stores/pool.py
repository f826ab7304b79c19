"""All stores of a run: one for each registry host, one for all layouts, made when first used."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from imgmigrate.config.untrusted import check_place
from imgmigrate.errors import StoreError
from imgmigrate.events import Warned
from imgmigrate.stores.slots import News

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from imgmigrate.clock import Clock
    from imgmigrate.config.model import Config
    from imgmigrate.events import RateLearnt, Sink
    from imgmigrate.oci.reference import Repository
    from imgmigrate.stores.base import Store, Stores
    from imgmigrate.stores.layout.source import LayoutSource
    from imgmigrate.stores.layout.store import LayoutStore
    from imgmigrate.stores.registry.http.limits import Timeouts
    from imgmigrate.stores.registry.http.session import Http
    from imgmigrate.stores.registry.pace.estimates import Estimates
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.stores.registry.store import RegistryStore

__all__ = ["open_stores"]


class _Pool:
    """Those that a config leads to, each made when it is first asked for."""

    def __init__(
        self,
        config: Config,
        sink: Sink,
        timeouts: Timeouts | None,
        outage: float,
        stack: AsyncExitStack,
        on_rate_limit: OnRateLimit,
        clock: Clock | None,
        is_met: Callable[[str], bool],
        kept: Path | None,
    ) -> None:
        self._config, self._sink, self._timeouts, self._stack = config, sink, timeouts, stack
        self._on_rate_limit, self._clock, self._kept = on_rate_limit, clock, kept
        self._outage, self._is_met = outage, is_met
        self.news = News()
        self._found: dict[str, Store] = {}
        self._layout_source: LayoutSource | None = None
        self._http: Http | None = None
        self._registries: list[RegistryStore] = []
        self._estimates: Estimates | None = None
        self._mounting: frozenset[str] = frozenset()

    def of(self, repository: Repository) -> Store:
        """Find or make the store of a host, or that of all layouts."""
        check_place(self._config, repository)
        found = self._found.get(repository.store)
        if found is None:
            found = self._layouts() if repository.is_layout else self._registry(repository.store)
            self._found[repository.store] = found
        return found

    def source_of(self, repository: Repository) -> Store:
        """Find or make the store of a source."""
        if not repository.is_layout:
            return self.of(repository)
        check_place(self._config, repository)
        if self._layout_source is None:
            from imgmigrate.stores.layout.source import LayoutSource

            self._layout_source = LayoutSource(self._config.base, self._sink)
        return self._layout_source

    def rates(self) -> tuple[RateLearnt, ...]:
        """What is worth saying of registries that refused requests for their rate."""
        return tuple(
            each
            for store in sorted(self._registries, key=lambda store: store.identity)
            for each in store.rates()
        )

    def requests(self) -> int:
        """How many requests were sent so far, each attempt and each login counted."""
        return self._http.sent if self._http is not None else 0

    def _layouts(self) -> Store:
        from imgmigrate.stores.layout.proofs import Proofs
        from imgmigrate.stores.layout.store import LayoutStore

        proofs = Proofs(self._kept and self._kept / "layouts")
        store = LayoutStore(self._config.base, proofs)
        self._stack.push_async_callback(self._restore_tags, store)
        return store

    async def _restore_tags(self, store: LayoutStore) -> None:
        """See to the names of written layouts last of all; the images themselves are there."""
        try:
            await store.aclose()
        except StoreError as error:
            message = f"{error}; plan again to see which tags another tool has taken out"
            self._sink.emit(Warned("layout_overwritten", message))

    def _registry(self, host: str) -> Store:
        # Imported here, so that a run among layouts never loads aiohttp.
        from imgmigrate.stores.registry.http.limits import Timeouts
        from imgmigrate.stores.registry.http.session import Http
        from imgmigrate.stores.registry.known.mounts import known_to_mount
        from imgmigrate.stores.registry.pace.estimates import Estimates
        from imgmigrate.stores.registry.store import RegistryStore

        if self._estimates is None and not self._config.is_untrusted:
            self._estimates, self._mounting = Estimates(), known_to_mount()
            self._stack.callback(self._keep_rates, self._estimates)
            self._stack.callback(self._keep_mounting)
        if self._http is None:
            self._http = Http(
                self._timeouts or Timeouts(outage=self._outage),
                self._config.registries.hosts,
                self._sink,
                is_confined=self._config.is_untrusted,
            )
            self._stack.push_async_callback(self._http.aclose)
        settings = partial(self._config.registry, host)
        store = RegistryStore(
            host,
            settings,
            self._http,
            self._sink,
            on_rate_limit=self._on_rate_limit,
            clock=self._clock,
            is_met=partial(self._is_met, host),
            news=self.news,
            known=self._estimates.of(host) if self._estimates else None,
            mounts=host in self._mounting,
            written_at=partial(self._config.registries.login_place, host),
        )
        self._registries.append(store)
        return store

    def _keep_mounting(self) -> None:
        """Let the next plan know where blobs are mounted."""
        from imgmigrate.stores.registry.known.mounts import keep_mounting

        keep_mounting({store.identity: store.mounting for store in self._registries})

    def _keep_rates(self, estimates: Estimates) -> None:
        """Let the next run begin where this one has found limits."""
        learnt = {
            store.identity: {kinds: rate.found for kinds, rate in rates.items() if rate.found}
            for store in self._registries
            if (rates := store.remote.limits.learnt())
        }
        # What too little was asked to tell stays as it was known.
        estimates.keep({host: rates for host, rates in learnt.items() if rates})


@asynccontextmanager
async def open_stores(
    config: Config,
    *,
    sink: Sink,
    timeouts: Timeouts | None = None,
    on_rate_limit: OnRateLimit = "wait",
    outage: float = 0,
    is_met: Callable[[str], bool] = lambda _: True,
    clock: Clock | None = None,
    kept: Path | None = None,
) -> AsyncIterator[Stores]:
    """Hold the stores of a run; every connection is closed at the end.

    A registry that is down is waited for `outage` seconds, unless `timeouts` say. `is_met` tells
    whether one was there before this run: where nobody ever was, none is waited for long.
    `on_rate_limit` says what to do where nothing is left of a metered registry's pulls; limits
    wait, and tokens end, by the `clock`, by default the event loop's. What is read of layouts
    is noted in the folder `kept`.
    """
    async with AsyncExitStack() as stack:
        yield _Pool(config, sink, timeouts, outage, stack, on_rate_limit, clock, is_met, kept)
