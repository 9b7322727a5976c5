"""Where a pipeline's tasks run on a cluster. But for retries, none of it has an effect on a laptop."""

from kfp import kubernetes
from kfp.dsl import PipelineTask

from pipelines.options import HOME, OPTIONAL_ENVIRONMENT, REQUIRED_ENVIRONMENT, Options


def place(task: PipelineTask, options: Options) -> PipelineTask:
    """Give a task its image, resources, environment and shared volume."""
    task.set_container_image(options.image)
    kubernetes.set_security_context(task, run_as_non_root=True)  # KFP drops capabilities and sets seccomp by itself
    if options.cpu:
        task.set_cpu_request(options.cpu)
    if options.memory:
        task.set_memory_request(options.memory).set_memory_limit(options.memory)
    if options.environment_secret:
        for names, optional in ((REQUIRED_ENVIRONMENT, False), (OPTIONAL_ENVIRONMENT, True)):
            variables = {name: name for name in names}
            kubernetes.use_secret_as_env(task, options.environment_secret, variables, optional=optional)
    if options.volume_claim:
        kubernetes.mount_pvc(task, options.volume_claim, HOME)
    return task


def place_worker(task: PipelineTask, options: Options) -> PipelineTask:
    """Give a tuning worker its card, nodes and tolerations too."""
    place(task, options)
    if options.worker_image:
        task.set_container_image(options.worker_image)
    if options.card:
        task.set_accelerator_type(options.card).set_accelerator_limit(1)
    for name, value in options.worker_environment.items():
        task.set_env_variable(name, value)
    if options.retries:
        task.set_retry(options.retries, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="600s")
    for key, value in options.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in options.tolerations:
        kubernetes.add_toleration(
            task,
            key=toleration.key,
            operator="Equal" if toleration.value else "Exists",
            value=toleration.value or None,
            effect=toleration.effect,
        )
    return task
