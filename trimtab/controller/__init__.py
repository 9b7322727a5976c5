"""The Kubernetes controller: a `ModelExperiment` is taken through the same steps as behind `trimtab rollout`."""
