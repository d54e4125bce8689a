"""Models are loaded once for all, makes room for newer ones, and a load can be given up."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from moeviz.models.progress import _ONE_LOAD
from moeviz.trace import MoevizError
from moeviz.ui.house import MODELS as ROOM
from moeviz.ui.shelf import Shelf


@pytest.fixture(scope="module")
def folders(folder, tmp_path_factory):
    """ROOM + 1 copies of one tiny model."""
    root = tmp_path_factory.mktemp("copies")
    for number in range(ROOM + 1):
        shutil.copytree(folder, root / str(number))
    return [str(root / str(number)) for number in range(ROOM + 1)]


def test_many_visitors_at_once_share_one_load(folders):
    shelf = Shelf()
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda _: shelf.take(folders[0]), range(8)))
    assert len({id(model) for model in models}) == 1


def test_the_model_not_used_for_longest_makes_room(folders):
    shelf = Shelf()
    first = shelf.take(folders[0])
    shelf.take(folders[1])
    assert shelf.take(folders[0]) is first
    shelf.take(folders[2])
    assert folders[1] not in shelf
    assert folders[0] in shelf


def test_trouble_reaches_everybody_who_waits(tmp_path):
    shelf = Shelf()

    def told(_) -> str:
        with pytest.raises(MoevizError) as caught:
            shelf.take("./nowhere")
        return str(caught.value)

    with ThreadPoolExecutor(3) as pool:
        sentences = set(pool.map(told, range(3)))
    assert sentences == {"There is no folder ./nowhere. Check the path, or give a hub id."}


class GivenUp(BaseException):
    """As Streamlit ends a script that the visitor has left."""


def give_up(stage: str, share: float) -> None:
    raise GivenUp


def test_a_load_that_nobody_waits_for_is_stopped_and_can_be_tried_again(folders):
    shelf = Shelf()
    with _ONE_LOAD, pytest.raises(GivenUp):  # no load gets further while this is held
        shelf.take(folders[0], give_up)
    for thread in threading.enumerate():
        if thread.name == f"load {folders[0]}":
            thread.join(30)
    assert folders[0] not in shelf
    assert shelf.take(folders[0]).name == folders[0]


def test_one_visitor_giving_up_does_not_stop_the_others(folders):
    shelf = Shelf()
    with ThreadPoolExecutor(1) as pool:
        with _ONE_LOAD:
            waiting = threading.Event()
            patient = pool.submit(shelf.take, folders[0], lambda *_: waiting.set())
            assert waiting.wait(30)
            with pytest.raises(GivenUp):
                shelf.take(folders[0], give_up)
        assert patient.result(60).name == folders[0]
