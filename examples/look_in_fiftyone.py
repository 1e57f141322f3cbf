"""Labels and detections side by side in FiftyOne (pip install fiftyone), by way of COCO's json.

    python -m data.convert datasets/mine as-coco --to coco --link symbolic      # a COCO set needs no converting
    python -m examples.look_in_fiftyone as-coco/val as-coco/annotations/instances_val.json

The test runs all up to the import of fiftyone, and reads the json with pycocotools. FiftyOne 1.22 itself was tried as
far as it goes without its MongoDB: it read the labels and the detections. Its evaluation and its app were not seen.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from detector import Detector


def write_detections(images: Path, labels: Path, weights: str, to: Path) -> list[dict[str, object]]:
    """COCO's results for every image that `labels` lists. Returns the categories, as the results number them."""
    detector = Detector(weights, conf=0.1)
    listed = json.loads(labels.read_text(encoding="utf-8"))["images"]
    found = detector([images / image["file_name"] for image in listed])
    rows = [row for image, one in zip(listed, found, strict=True) for row in one.to_coco(image["id"])]
    to.write_text(json.dumps(rows), encoding="utf-8")
    return [{"id": number, "name": name} for number, name in enumerate(detector.classes, 1)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.look_in_fiftyone", description="Look at detections.")
    parser.add_argument("images", type=Path, help="folder of the images")
    parser.add_argument("labels", type=Path, help="COCO's json of them")
    parser.add_argument("--weights", default="kitti-light", metavar="W")
    parser.add_argument("--detections", type=Path, default=Path("detections.json"), metavar="FILE", help="to write")
    args = parser.parse_args()
    categories = write_detections(args.images, args.labels, args.weights, args.detections)
    print(f"written: {args.detections}")

    import fiftyone as fo
    from fiftyone.utils.coco import add_coco_labels

    dataset = fo.Dataset.from_dir(
        dataset_type=fo.types.COCODetectionDataset,
        data_path=str(args.images),
        labels_path=str(args.labels),
        label_types="detections",
        label_field={"detections": "labels"},  # a plain name would be put before both fields
        include_id=True,  # the images' ids, by which the detections find them
    )
    add_coco_labels(dataset, "detections", str(args.detections), categories, coco_id_field="coco_id")
    dataset.evaluate_detections("detections", gt_field="labels", eval_key="eval")
    fo.launch_app(dataset).wait()


if __name__ == "__main__":
    main()
