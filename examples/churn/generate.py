"""Writes `customers.csv`: customers of an invented streaming service, with a few bad rows as real exports have them.

    python examples/churn/generate.py [--rows 4000] [--seed 11] [--out examples/churn/customers.csv]

Renewal depends on the KPIs, the plan and a call that was offered at random and helps most where the service was bad.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

FEES = {"basic": 72, "standard": 132, "premium": 204}
BAD_ROWS = 12


def customers(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """A table of `rows` customers."""
    plan = rng.choice(list(FEES), rows, p=[0.45, 0.35, 0.2])
    tenure = rng.gamma(2.0, 14.0, rows).astype(int)
    network = rng.normal(size=rows)  # unseen quality of the customer's line: it moves three KPIs
    startup = np.exp(0.7 - 0.35 * network + rng.normal(0, 0.35, rows))
    rebuffer = 1 / (1 + np.exp(4.0 + 0.7 * network + rng.normal(0, 0.5, rows)))
    errors = np.clip(rng.beta(1.2, 60, rows) - 0.002 * network, 0, 1)
    tickets = rng.poisson(np.exp(-1.0 + 12 * rebuffer + 15 * errors))
    wait = np.where(tickets > 0, rng.gamma(2.0, 4.0, rows), np.nan)
    hours = rng.gamma(2.2, 11.0, rows) * np.exp(-4 * rebuffer)
    days = rng.binomial(30, np.clip(hours / (hours + 18), 0.02, 0.98))
    call = rng.random(rows) < 0.5
    logit = (
        -0.7
        - 0.75 * np.log(startup)
        - 20.0 * rebuffer
        - 26.0 * errors
        - 0.06 * np.nan_to_num(wait)
        + 0.13 * days
        + 0.03 * np.minimum(tenure, 60)
        + 0.6 * (plan == "premium")
        + call * (0.1 + 16.0 * rebuffer)
    )
    renewed = rng.random(rows) < 1 / (1 + np.exp(-logit))
    number = rng.permutation(np.arange(100_000, 100_000 + rows))
    return pd.DataFrame(
        {
            "customer_id": [f"C{n}" for n in number],
            "email": [f"customer.{n}@example.org" for n in number],
            "country": rng.choice(["DE", "FR", "NL", "AT", "CH"], rows, p=[0.42, 0.24, 0.16, 0.1, 0.08]),
            "plan": plan,
            "payment": rng.choice(["card", "invoice", "wallet"], rows, p=[0.6, 0.25, 0.15]),
            "tenure_months": tenure,
            "startup_time_s": startup.round(2),
            "rebuffer_share": rebuffer.round(4),
            "api_error_rate": errors.round(4),
            "support_wait_min": wait.round(1),
            "support_tickets": tickets,
            "hours_watched": hours.round(1),
            "days_active": days,
            "call_offered": call,
            "exit_form_answers": np.where(renewed, 0, 1 + rng.binomial(6, 0.6, rows)),
            "renewal_eur": np.where(renewed, [FEES[name] for name in plan], 0),
            "status": np.where(renewed, "renewed", "left"),
        }
    )


def spoil(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Put typical export errors into a dozen rows, for validation to find."""
    table = table.astype(object)
    rows = rng.choice(len(table), BAD_ROWS, replace=False)
    for row, (column, value) in zip(
        rows,
        3 * [("startup_time_s", "n/a"), ("rebuffer_share", 12.5), ("status", None), ("plan", "Premium+")],
        strict=True,
    ):
        table.loc[row, column] = value
    return table


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("customers.csv"))
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    spoil(customers(options.rows, rng), rng).to_csv(options.out, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
