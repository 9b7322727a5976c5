"""What every `Routes` must do: subclass the suite and give it a `routes` fixture.

class TestMyRoutes(RoutesContract):
    @pytest.fixture
    def routes(self, tmp_path: Path) -> Routes: ...
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from trimtab.experiments.assignment import Holdout, Layer
from trimtab.ports import Routes
from trimtab.rollout.route import Route, RoutePhase, Target

ROUTE = Route(
    model="shop",
    control="control",
    arms={"control": Target("http://a", "shop", 1), "treatment": Target("http://b", "shop", 2)},
    experiment="e",
    phases=(
        RoutePhase(
            datetime(2026, 3, 1, tzinfo=UTC), {"control": 0.9, "treatment": 0.1}, eligible={"device": ("mobile",)}
        ),
        RoutePhase(
            datetime(2026, 3, 2, tzinfo=UTC), {"control": 0.5, "treatment": 0.5}, eligible={"device": ("mobile",)}
        ),
    ),
    layer=Layer("checkout", 0, 5_000),
    holdout=Holdout("all", 0.02),
    unit_field="user_id",
    attributes=("device",),
    published=datetime(2026, 3, 1, tzinfo=UTC),
)


class RoutesContract:
    """The suite."""

    def test_gives_back_what_was_published(self, routes: Routes) -> None:
        """Every field survives."""
        routes.publish(ROUTE)
        assert routes.get("shop") == ROUTE

    def test_says_how_long_routers_take_to_hear(self, routes: Routes) -> None:
        """Whoever publishes waits for them."""
        assert routes.hearing > timedelta()

    def test_a_model_without_a_route_has_none(self, routes: Routes) -> None:
        """Also before anything was published."""
        assert routes.get("shop") is None
        assert routes.versions() == {}

    def test_the_version_changes_with_the_route_and_only_with_it(self, routes: Routes) -> None:
        """Whoever watches reads a document when it has changed."""
        routes.publish(ROUTE)
        routes.publish(replace(ROUTE, model="other"))
        before = routes.versions()
        assert set(before) == {"shop", "other"}
        assert routes.versions() == before
        routes.publish(replace(ROUTE, revision=2))
        after = routes.versions()
        assert after["shop"] != before["shop"]
        assert after["other"] == before["other"]

    def test_removes_a_route(self, routes: Routes) -> None:
        """Twice does no harm."""
        routes.publish(ROUTE)
        routes.remove("shop")
        routes.remove("shop")
        assert routes.get("shop") is None
        assert routes.versions() == {}

    def test_takes_any_name(self, routes: Routes) -> None:
        """Also one that looks like a path."""
        for name in ("a/b", "..", "é %", ".hidden"):
            routes.publish(replace(ROUTE, model=name))
            assert routes.get(name) == replace(ROUTE, model=name)
        assert set(routes.versions()) == {"a/b", "..", "é %", ".hidden"}
