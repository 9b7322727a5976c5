"""Arms and canaries as InferenceServices of KServe."""

from trimtab.adapters.kserve.canary import KserveCanary
from trimtab.adapters.kserve.deployer import KserveArmDeployer

__all__ = ["KserveArmDeployer", "KserveCanary"]
