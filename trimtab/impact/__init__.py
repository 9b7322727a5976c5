"""Which KPI matters, and what improving it is worth."""
