"""python -m dalf_training: see command."""
import sys

from .command import main

sys.exit(main())
