"""Where a pipeline's tasks run on a cluster. None of it has an effect on a laptop."""

from kfp import kubernetes
from kfp.dsl import PipelineTask

from pipelines.options import HOME, REQUIRED_ENVIRONMENT, RESOURCES, Options


def place(task: PipelineTask, options: Options) -> PipelineTask:
    """Give a task its image, environment and shared volume."""
    task.set_container_image(options.image)
    if options.environment_secret:
        kubernetes.use_secret_as_env(task, options.environment_secret, {name: name for name in REQUIRED_ENVIRONMENT})
    if options.volume_claim:
        kubernetes.mount_pvc(task, options.volume_claim, HOME)
    return task


def place_worker(task: PipelineTask, options: Options) -> PipelineTask:
    """Give a tuning worker its card, nodes and tolerations too."""
    place(task, options)
    if options.worker_image:
        task.set_container_image(options.worker_image)
    if options.accelerator in RESOURCES:
        task.set_accelerator_type(RESOURCES[options.accelerator]).set_accelerator_limit(1)
    if options.accelerator == "gaudi":
        task.set_env_variable("PT_HPU_LAZY_MODE", "0")  # eager with torch.compile; lazy mode is on its way out
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
