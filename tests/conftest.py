"""What holds for every test: the shell that starts the tests configures nothing of the product."""

import os

# What configures the tests themselves: where data and schemas lie, which images to run, whether goldens are written.
FOR_TESTS = {"TRIMTAB_DATA_DIR", "TRIMTAB_CRD_DIR", "TRIMTAB_IMAGE_TAG", "TRIMTAB_UPDATE_GOLDEN"}
PREFIXES = ("TRIMTAB_", "MLFLOW_", "KFP_")

for _name in [name for name in os.environ if name.startswith(PREFIXES) and name not in FOR_TESTS]:
    del os.environ[_name]
