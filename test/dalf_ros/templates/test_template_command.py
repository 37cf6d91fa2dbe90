"""A frame of a bag as a template, and a recording registered to it."""
import json

import numpy as np

from dalf_core import load_template
from dalf_core.commands.template import main as template_main
from dalf_ros.bags.bag_source import BagSource
from dalf_ros.bags.bag_writer import bag_topic
from dalf_ros.conversions import topics
from dalf_ros.conversions.messages import stamp_ns
from dalf_ros.register import main as register_main
from dalf_ros.templates.__main__ import read_bag

QUICK = ("--weights", "light", "--top-k", "300")


def test_a_bag_is_followed_from_the_template_of_a_later_frame(rgbd_bag, scene, tmp_path, command):
    file = tmp_path / "board.dalf"
    words = ["make", str(rgbd_bag), "--frame", "6", "--mask-topic", scene.mask, "--output", str(file), *QUICK]
    assert template_main(words, read_bag) == 0
    template = load_template(file)
    np.testing.assert_array_equal(template.image, scene.image(6))
    assert template.camera == scene.camera and template.mask[25:-25, 25:-25].all() and not template.mask[:18].any()
    code, out, err = command(register_main, rgbd_bag, "--template", file, "--output", tmp_path / "run", "--no-video", *QUICK)
    assert code == 0, err
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert [frame["status"] for frame in metrics["frames"]] == ["tracked"] * 12, out
    assert (tmp_path / "run/reference.ply").exists()
    with BagSource(tmp_path / "run/results") as source:
        stamps = {stamp_ns(message.reference_header) for _, message in source.readable([bag_topic(topics.MESH), bag_topic(topics.MATCHES)])}
    assert stamps == {metrics["frames"][0]["stamp_ns"] - 1}         # just before the first image, whose stamp is not the template's


def test_what_a_bag_does_not_hold(rgbd_bag, tmp_path, capsys):
    for words, why in (((str(rgbd_bag), "--frame", "99"), "no frame 99"), ((str(rgbd_bag), "--mask-topic", "/none"), "no such topic"),
                       ((str(tmp_path / "none.mcap"),), "does not exist")):
        assert template_main(["make", *words, "--output", str(tmp_path / "a.dalf"), *QUICK], read_bag) == 2
        assert why in capsys.readouterr().err
