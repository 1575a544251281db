"""`python -m keras_distill` is `keras-distill`."""

import sys

from keras_distill.cli import main

sys.exit(main())
