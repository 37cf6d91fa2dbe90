"""registration_node where tf2_msgs may not be installed (it is in no wheel): then a message on /tf is a single TransformStamped."""
from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

if importlib.util.find_spec("tf2_msgs") is None:
    from geometry_msgs.msg import TransformStamped

    TransformStamped.transforms = property(lambda self: [self])
    package, messages = ModuleType("tf2_msgs"), ModuleType("tf2_msgs.msg")
    messages.TFMessage = TransformStamped
    package.msg = messages
    sys.modules |= {"tf2_msgs": package, "tf2_msgs.msg": messages}

if __name__ == "__main__":
    from dalf_ros.registration_node import main

    sys.exit(main())
