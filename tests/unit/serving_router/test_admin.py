"""Routes and assignments for those who hold the token, and changes that need no restart."""

import asyncio
from pathlib import Path

import orjson
import pytest

from serving.router.guard import guard_of
from serving.router.table import RouteTable
from tests.unit.serving_router.world import BEGAN, PATIENCE_MS, V1, World, play
from trimtab.adapters.routes import FileRoutes
from trimtab.errors import BadInput
from trimtab.experiments.assignment import Holdout, Layer
from trimtab.rollout.route import Route, RoutePhase, dump_route

BODY = {"instances": [{"device": "mobile"}]}
TOKENS = {"admin": "a secret", "outcomes": "another"}


def test_a_token_guards_what_it_should_and_no_more(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        for path, method in (
            ("/admin/routes", "GET"),
            ("/admin/routes/shop", "DELETE"),
            ("/assignments/shop/a", "GET"),
        ):
            assert (await world.ask(path, method=method)).status == 401
            assert (await world.ask(path, method=method, authorization="Bearer another")).status == 401
        assert (await world.ask("/outcomes", b"[]")).status == 401
        assert (await world.ask("/admin/routes", method="GET", authorization="bearer a secret")).status == 200
        assert (await world.ask(V1, BODY, unit="ann")).status == 200
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await world.ask(path, method="GET")).status == 200

    play(tmp_path, scene, tokens=TOKENS)


@pytest.mark.parametrize("address", ["0.0.0.0", "10.0.0.1", "::"])
def test_unset_tokens_are_for_loopback_only(address: str) -> None:
    with pytest.raises(BadInput, match="TRIMTAB_ADMIN_TOKEN is unset"):
        guard_of({"TRIMTAB_OUTCOMES_TOKEN": "x"}, address=address)
    guard_of({}, address=address, unguarded=True)
    guard_of({}, address="127.0.0.1")
    guard_of({}, address="::1")


def test_a_line_end_is_no_part_of_a_token() -> None:
    guard = guard_of({"TRIMTAB_ADMIN_TOKEN": "a secret\n", "TRIMTAB_OUTCOMES_TOKEN": "x"}, address="0.0.0.0")
    guard.check("admin", [(b"authorization", b"Bearer a secret")])
    with pytest.raises(BadInput, match="is unset"):
        guard_of({"TRIMTAB_ADMIN_TOKEN": "\n", "TRIMTAB_OUTCOMES_TOKEN": "x"}, address="0.0.0.0")


def test_puts_lists_and_deletes_a_route(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        route = world.route(revision=2, timeout_ms=5.0)
        put = await world.ask("/admin/routes/shop", dump_route(route), method="PUT")
        assert (put.status, put.json) == (200, {"model": "shop", "revision": 2})
        listed = await world.ask("/admin/routes", method="GET")
        assert listed.json["routes"]["shop"]["timeout_ms"] == 5.0
        assert world.routes.get("shop") == route
        stale = await world.ask("/admin/routes/shop", dump_route(route), method="PUT")
        assert stale.status == 409
        assert (await world.ask("/admin/routes/shop", method="DELETE")).status == 200
        assert (await world.ask(V1, BODY)).status == 404
        assert (await world.ask("/admin/routes/shop", method="DELETE")).status == 404

    play(tmp_path, scene)


def test_of_two_with_one_revision_one_is_refused(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        documents = [dump_route(world.route(revision=2, timeout_ms=ms)) for ms in (5.0, 6.0)]
        puts = [world.ask("/admin/routes/shop", document, method="PUT") for document in documents]
        assert sorted(heard.status for heard in await asyncio.gather(*puts)) == [200, 409]
        world.routes.publish(world.route(revision=3))  # by another worker, which this one has not heard of
        late = await world.ask("/admin/routes/shop", dump_route(world.route(revision=3, timeout_ms=7.0)), method="PUT")
        assert late.status == 409
        assert world.table.models["shop"].route.timeout_ms == PATIENCE_MS

    play(tmp_path, scene)


def test_a_document_that_could_not_be_read_for_a_moment_is_read_again(tmp_path: Path) -> None:
    class Unsteady(FileRoutes):
        away = False

        def get(self, model: str) -> Route | None:
            if self.away:
                raise OSError("stale file handle")
            return super().get(model)

    async def scene(world: World) -> None:
        routes = Unsteady(tmp_path / "routes")
        table = RouteTable(routes)
        routes.away = True
        table.refresh()
        assert table.problems == {"shop": "stale file handle"}
        routes.away = False
        table.refresh()
        assert (list(table.models), table.problems) == (["shop"], {})
        table.close()

    play(tmp_path, scene)


def test_a_wrong_route_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        right = orjson.loads(dump_route(world.route(revision=2)))
        far = {"control": {"url": "ftp://x", "model": "m", "version": 1}, "treatment": right["arms"]["treatment"]}
        for wrong in (b"{", b"[]", {**right, "control": "x"}, {**right, "model": "y"}, {**right, "arms": far}):
            heard = await world.ask("/admin/routes/shop", wrong, method="PUT")
            assert (heard.status, bool(heard.json["error"])) == (400, True)
        assert world.table.models["shop"].route.revision == 1

    play(tmp_path, scene)


def test_routes_that_cannot_be_written_are_no_failure_of_the_router(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        document = dump_route(world.route(revision=2))
        for path in (tmp_path / "routes").iterdir():
            path.unlink()
        (tmp_path / "routes").rmdir()
        (tmp_path / "routes").write_text("a file where the folder was")
        heard = await world.ask("/admin/routes/shop", document, method="PUT")
        assert heard.status == 503
        assert "cannot be written" in heard.json["error"]

    play(tmp_path, scene)


def test_a_broken_document_keeps_the_old_route_and_is_shown(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        path = next((tmp_path / "routes").glob("*.json"))
        path.write_bytes(b'{"model": "shop"')
        world.table.refresh()
        assert (await world.ask(V1, BODY, unit="ann")).status == 200
        listed = (await world.ask("/admin/routes", method="GET")).json
        assert "shop.json" in listed["problems"]["shop"]
        assert listed["routes"]["shop"]["revision"] == 1
        assert "trimtab_router_broken_routes 1.0" in (await world.ask("/metrics", method="GET")).body.decode()
        world.publish(revision=2)
        assert (await world.ask("/admin/routes", method="GET")).json["problems"] == {}

    play(tmp_path, scene)


def test_takes_up_changes_and_removals_without_a_restart(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        unit = world.unit_of("control")
        before = world.table.models["shop"].servers["control"]
        world.publish(revision=2, phases=(RoutePhase(BEGAN, {"control": 0.0, "treatment": 1.0}),))
        assert (await world.ask(V1, BODY, unit=unit)).headers["x-trimtab-arm"] == "treatment"
        assert world.table.models["shop"].servers["control"] is before  # with its connections
        world.routes.remove("shop")
        world.table.refresh()
        assert (await world.ask(V1, BODY, unit=unit)).status == 404
        assert (await world.ask("/readyz", method="GET")).status == 200

    play(tmp_path, scene)


def test_a_configmap_that_is_replaced_is_noticed(tmp_path: Path) -> None:
    """Kubernetes swaps a link to a folder; the file's own name and link never change."""

    async def scene(world: World) -> None:
        folder = tmp_path / "routes"
        for number in (1, 2):
            (folder / f"..{number}").mkdir()
            (folder / f"..{number}" / "shop.json").write_bytes(dump_route(world.route(revision=number + 1)))
        (folder / "..data").symlink_to("..1")
        (folder / "shop.json").unlink()
        (folder / "shop.json").symlink_to("..data/shop.json")
        world.table.refresh()
        assert world.table.models["shop"].route.revision == 2
        (folder / "..new").symlink_to("..2")
        (folder / "..new").replace(folder / "..data")
        world.table.refresh()
        assert world.table.models["shop"].route.revision == 3

    play(tmp_path, scene)


def test_readiness_asks_for_a_route_that_can_be_served(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.routes.remove("shop")
        (tmp_path / "routes" / "shop.json").write_bytes(b"{")
        world.table.refresh()
        world.table.refresh()
        fresh = World(tmp_path)
        assert (await fresh.ask("/readyz", method="GET")).status == 503
        fresh.table.refresh()
        assert (await fresh.ask("/readyz", method="GET")).status == 503
        assert (await world.ask("/readyz", method="GET")).status == 200
        world.app.draining = True
        draining = await world.ask("/readyz", method="GET")
        assert (draining.status, draining.json) == (503, {"status": "draining"})
        assert (await world.ask("/healthz", method="GET")).status == 200

    play(tmp_path, scene)


def test_says_where_a_unit_stands_and_why(tmp_path: Path) -> None:
    async def ask(world: World, query: str = "") -> tuple[str, bool, str]:
        found = (await world.ask(f"/assignments/shop/ann{query}", method="GET")).json
        return found["arm"], found["enrolled"], found["reason"]

    async def scene(world: World) -> None:
        arm, enrolled, reason = await ask(world)
        assert (enrolled, reason) == (True, "")
        assert (await world.ask(V1, BODY, unit="ann")).headers["x-trimtab-arm"] == arm
        never = RoutePhase(BEGAN, {"control": 0.5, "treatment": 0.5}, eligible={"device": ("mobile",)})
        world.publish(revision=2, phases=(never,))
        assert "not known" in (await ask(world))[2]
        assert "'device' is 'tv'" in (await ask(world, "?device=tv"))[2]
        assert (await ask(world, "?device=mobile"))[1]
        world.publish(revision=3, holdout=Holdout("all", 1.0))
        assert "holdout" in (await ask(world))[2]
        world.publish(revision=4, layer=Layer("l", 0, 1))
        assert "layer" in (await ask(world))[2]
        world.publish(revision=5, share=0.0)
        assert "share" in (await ask(world))[2]
        world.publish(revision=6, experiment="", phases=())
        assert await ask(world) == ("control", False, "no experiment runs.")
        assert (await world.ask("/assignments/other/ann", method="GET")).status == 404
        assert (await world.ask("/assignments/shop", method="GET")).status == 404

    play(tmp_path, scene)


@pytest.mark.parametrize("path", ["/", "/nothing", "/admin/routesx", "/assignments/shop/a/b"])
def test_an_unknown_path_is_404(tmp_path: Path, path: str) -> None:
    async def scene(world: World) -> None:
        assert (await world.ask(path, method="GET")).status == 404

    play(tmp_path, scene)


@pytest.mark.parametrize(("path", "method"), [(V1, "GET"), ("/outcomes", "GET"), ("/admin/routes/shop", "POST")])
def test_a_wrong_method_is_405(tmp_path: Path, path: str, method: str) -> None:
    async def scene(world: World) -> None:
        assert (await world.ask(path, method=method)).status == 405

    play(tmp_path, scene)
