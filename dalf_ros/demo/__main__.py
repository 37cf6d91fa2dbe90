"""python -m dalf_ros.demo"""
import sys

from .command import main

sys.exit(main())
