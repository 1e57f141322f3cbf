"""KITTI's protocol as plain loops over frames, thresholds, objects and detections: slow, and near to its text."""

from __future__ import annotations

LIMITS = {"easy": (40, 0, 0.15), "moderate": (25, 1, 0.30), "hard": (25, 2, 0.50)}
NEIGHBOUR = {"Car": "Van", "Pedestrian": "Person_sitting"}


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def intersection(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    return w * h if w > 0 and h > 0 else 0.0


def iou(detection, object_):
    shared = intersection(detection, object_)
    return shared / (area(detection) + area(object_) - shared) if shared else 0.0


def kitti_ap(ground_truth, detections, name, level, limit):
    """(precision [41], n_gt) of one class and difficulty; frames are dictionaries of lists of Labels."""
    min_height, max_occlusion, max_truncation = LIMITS[level]
    frames, n_gt = [], 0
    for frame, labels in ground_truth.items():
        objects, regions, found = [], [], []  # objects: (box, valid); found: (box, score, active)
        for label in labels:
            if label.name == "DontCare":
                regions.append(label.box)
            elif label.name == name:
                height = label.box[3] - label.box[1]
                hard = label.occlusion > max_occlusion or label.truncation > max_truncation or height <= min_height
                objects.append((label.box, not hard))
                n_gt += not hard
            elif label.name == NEIGHBOUR.get(name):
                objects.append((label.box, False))
        for label in detections.get(frame, []):
            if abs(label.box[3] - label.box[1]) < min_height:
                found.append((label.box, label.score, False))
            elif label.name == name:
                found.append((label.box, label.score, True))
        frames.append((objects, regions, found))

    scores = []
    for objects, _, found in frames:
        used = set()
        for box, valid in objects:
            best = None
            for d, (other, score, _) in enumerate(found):
                if d not in used and iou(other, box) > limit and (best is None or score > found[best][1]):
                    best = d
            if best is not None:
                used.add(best)
                if valid and found[best][2]:
                    scores.append(found[best][1])

    precision = [0.0] * 41
    for k, threshold in enumerate(thresholds(scores, n_gt)):
        tp = fp = 0
        for objects, regions, found in frames:
            used = set()
            for box, valid in objects:
                best = None
                for d, (other, score, active) in enumerate(found):
                    if d in used or score < threshold or not iou(other, box) > limit:
                        continue
                    if active:
                        if best is None or not found[best][2] or iou(other, box) > iou(found[best][0], box):
                            best = d
                    elif best is None:
                        best = d
                if best is not None:
                    used.add(best)
                    tp += valid and found[best][2]
            for d, (box, score, active) in enumerate(found):
                if active and score >= threshold and d not in used:
                    fp += not any(intersection(box, r) and intersection(box, r) / area(box) > limit for r in regions)
        precision[k] = tp / (tp + fp) if tp + fp else 0.0
    return [max(precision[k:]) for k in range(41)], n_gt


def thresholds(scores, n_gt):
    scores = sorted(scores, reverse=True)
    chosen, recall = [], 0.0
    for i, score in enumerate(scores):
        last = i == len(scores) - 1
        left = (i + 1) / n_gt
        right = left if last else (i + 2) / n_gt
        if (right - recall) < (recall - left) and not last:
            continue
        chosen.append(score)
        recall += 1 / 40
    return chosen
