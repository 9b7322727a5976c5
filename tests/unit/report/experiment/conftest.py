import pytest

from trimtab.report.experiment.model import ExperimentReport
from trimtab.testing.experiment_reports import simulated_report

BUSINESS = {"units_per_year": 2e6, "value_per_conversion": 40, "one_off_cost": 200_000, "yearly_cost": 50_000}
LOOKS = {"planned_units": 25_000, "looks": ["2026-09-11T00:00:00Z", "2026-09-15T00:00:00Z"]}


@pytest.fixture(scope="session")
def shipped() -> ExperimentReport:
    return simulated_report(lifts={"control": 0.0, "treatment": 0.2}, business=BUSINESS)


@pytest.fixture(scope="session")
def harmful() -> ExperimentReport:
    return simulated_report(lifts={"control": 0.0, "treatment": -0.3}, business=BUSINESS)


@pytest.fixture(scope="session")
def unclear() -> ExperimentReport:
    return simulated_report(lifts={"control": 0.0, "treatment": 0.0}, users=4_000, days=5)


@pytest.fixture(scope="session")
def faulty() -> ExperimentReport:
    return simulated_report(share=0.46, lifts={"control": 0.0, "treatment": 0.3}, business=BUSINESS)


@pytest.fixture(scope="session")
def sequential() -> ExperimentReport:
    return simulated_report(lifts={"control": 0.0, "treatment": 0.25}, sequential=LOOKS)


@pytest.fixture(scope="session")
def watched() -> ExperimentReport:
    plan = {"method": "always_valid", "planned_units": 20_000}
    return simulated_report(lifts={"control": 0.0, "treatment": 0.25}, sequential=plan)
