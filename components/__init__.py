"""KFP components: one folder each, a typed signature and a body that calls a step."""
