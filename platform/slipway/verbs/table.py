"""All verbs, in the order in which help and completion show them."""

from slipway.verbs.benchmarks import BENCH
from slipway.verbs.configured import CONFIGURED
from slipway.verbs.declare import Verb
from slipway.verbs.evaluate import EVALUATE
from slipway.verbs.generate import GENERATE
from slipway.verbs.handover import EXPORT, IMPORT
from slipway.verbs.unconfigured import CLUSTERS, IMAGE, JUPYTER, REPORT, RUNS

VERBS: dict[str, Verb] = {
    **CONFIGURED,
    "export": EXPORT,
    "import": IMPORT,
    "generate": GENERATE,
    "evaluate": EVALUATE,
    "report": REPORT,
    "runs": RUNS,
    "clusters": CLUSTERS,
    "image": IMAGE,
    "jupyter": JUPYTER,
    "bench": BENCH,
}
