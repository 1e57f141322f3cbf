from __future__ import annotations

from data.annotation import Annotation, ClassSet

BOX = (0.0, 0.0, 1.0, 1.0)


def test_what_an_annotation_is_to_a_class_set() -> None:
    classes = ClassSet(("bus", "car"), frozenset({"van"}))
    for annotation, target in (
        (Annotation("car", BOX), 1),
        (Annotation("van", BOX), -1),
        (Annotation("tree", BOX), None),
        (Annotation("car", BOX, ignore=True), -1),  # a crowd of cars
        (Annotation("tree", BOX, ignore=True), None),  # a crowd of what nobody looks for
    ):
        assert classes.target(annotation) == target
