"""Which KPI is worth improving."""
