"""Names and shapes of all parameters that the trainer builds, of each of {name: overrides}: JSON in, JSON out."""

import json
import sys

from meta_parameters import parameters

if __name__ == "__main__":
    found = {name: {n: s for n, s, _ in parameters(0, words)} for name, words in json.load(sys.stdin).items()}
    print(json.dumps(found))
