import io

import pytest
from rich.console import Console

from effdet.evaluation import join
from heads.structures import ClassTable, UserError

VOC_NAMES = ("motorbike", "aeroplane", "sofa", "pottedplant", "diningtable", "tvmonitor")
COCO_NAMES = ("tv", "dining table", "potted plant", "couch", "airplane", "motorcycle")


def test_same_table_is_exact():
    table = ClassTable.of(["car", "person"])
    joined = join(table, table)
    assert joined.exact
    assert joined.to_data == (0, 1)
    assert (joined.missing, joined.dropped) == ((), ())


def test_names_not_numbers_decide():
    model = ClassTable(("Person", None, "traffic_light", "zebra"), (1, None, 3, 4))
    data = ClassTable.of(["traffic light", "person", "rider"], first_id=24)
    joined = join(model, data)
    assert joined.to_data == (1, -1, 0, -1)
    assert joined.missing == ("rider",)
    assert joined.dropped == ("zebra",)
    assert not joined.exact


def test_aliases_both_ways():
    assert join(ClassTable.of(VOC_NAMES), ClassTable.of(COCO_NAMES)).to_data == (5, 4, 3, 2, 1, 0)
    assert join(ClassTable.of(COCO_NAMES), ClassTable.of(VOC_NAMES)).to_data == (5, 4, 3, 2, 1, 0)


def test_several_model_classes_may_be_one_of_the_data():
    assert join(ClassTable.of(["sofa", "couch"]), ClassTable.of(["Couch"])).to_data == (0, 0)


def test_empty_join_is_refused_with_both_sides():
    with pytest.raises(UserError, match="no class in common: the model knows class_0, class_1, the data car"):
        join(ClassTable.unnamed(2), ClassTable.of(["car"]))


def test_two_names_of_one_thing_in_the_data_stay_two_classes():
    joined = join(ClassTable.of(["sofa"]), ClassTable.of(["sofa", "couch"]))
    assert (joined.to_data, joined.missing) == ((0,), ("couch",))


def test_table_and_text():
    joined = join(ClassTable.of(["car", "zebra"]), ClassTable.of(["car", "rider"], first_id=7))
    console = Console(file=(out := io.StringIO()), width=120)
    console.print(joined.table())
    text = out.getvalue()
    assert "rider" in text and "scores 0" in text and "zebra" in text and "7" in text
    assert str(joined) == (
        "1 of the data's 2 classes are known to the model; it lacks rider (scores 0); "
        "1 of its classes are not in the data and are dropped: zebra"
    )


def test_two_classes_of_the_data_that_differ_in_case_stay_two():
    letters = ClassTable.of(["a", "A", "b"])
    assert join(letters, letters).to_data == (0, 1, 2)
    assert join(ClassTable.of(["A", "a"]), letters).to_data == (1, 0)
    # "B" has no exact partner and only one near one; a near name never takes a class that has its exact one.
    assert join(ClassTable.of(["a", "B"]), letters).to_data == (0, 2)
    assert join(ClassTable.of(["a", "A"]), ClassTable.of(["a"])).to_data == (0, -1)
    # Neither of two near ones is meant without doubt.
    assert join(ClassTable.of(["Car", "b"]), ClassTable.of(["car", "CAR", "b"])).to_data == (-1, 2)
