"""A library that is asked image by image: what it answers, and what is wrong with its files, told once."""
from concurrent.futures import ThreadPoolExecutor

import pytest

from dalf_core import DALF, Template, TemplateError, save_template
from dalf_ros.templates.seeker import Seeker


def test_files_that_spoil_while_it_is_in_use_are_told_once(scene, tmp_path):
    save_template(Template.of_frame("board", scene.image(0)), tmp_path / "board.dalf")
    (tmp_path / "bad.dalf").write_bytes(b"none")
    answers, failures = [], []
    with ThreadPoolExecutor(1) as executor:
        seeker = Seeker(tmp_path, DALF("light", top_k=300), 1.0, executor)
        first = seeker.news()
        (tmp_path / "worse.dalf").write_bytes(b"PK none either")
        seeker.ask(scene.image(3), lambda *answer: answers.append(answer), failures.append)
    assert len(first) == 1 and "bad.dalf" in first[0]
    assert [problem.count("worse.dalf") for problem in seeker.news()] == [1] and seeker.news() == []
    (found, template), = answers
    assert found.name == "board" and (template.image == scene.image(0)).all() and not failures


def test_a_library_that_goes_away_is_a_failure(scene, tmp_path):
    file = tmp_path / "board.dalf"
    save_template(Template.of_frame("board", scene.image(0)), file)
    answers, failures = [], []
    with ThreadPoolExecutor(1) as executor:
        seeker = Seeker(tmp_path, DALF("light", top_k=300), 1.0, executor)
        file.unlink()
        seeker.ask(scene.image(3), lambda *answer: answers.append(answer), failures.append)
    assert not answers and "holds no template" in failures[0]
    with ThreadPoolExecutor(1) as executor, pytest.raises(TemplateError, match="does not exist"):
        Seeker(tmp_path / "none", DALF("light", top_k=300), 1.0, executor)
