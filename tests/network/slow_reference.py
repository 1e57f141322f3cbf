"""The loss of one batch in plain loops over plain numbers, written from the definitions and apart from the code.

Reads raw maps as nested lists; shares no code with detector.network.
"""

from __future__ import annotations

import math


def sigmoid(t):
    return 1 / (1 + math.exp(-t)) if t >= 0 else math.exp(t) / (1 + math.exp(t))


def bce(logit, target):
    """-[target log p + (1 - target) log(1 - p)]"""
    return max(logit, 0) - logit * target + math.log1p(math.exp(-abs(logit)))


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def common(a, b):
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def iou(a, b):
    return common(a, b) / (area(a) + area(b) - common(a, b))


def ciou(a, b, alpha=None):
    """1 - IoU + d^2 / c^2 + alpha v (Zheng et al. 2020); alpha is a constant to the gradient, so it may be given."""
    d2 = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    c2 = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    v = 4 / math.pi**2 * (math.atan((b[2] - b[0]) / (b[3] - b[1])) - math.atan((a[2] - a[0]) / (a[3] - a[1]))) ** 2
    if alpha is None:
        alpha = v / (1 - iou(a, b) + v) if v else 0.0
    return 1 - iou(a, b) + d2 / c2 + alpha * v


def decode(t, column, row, anchor, stride, xy_scale):
    x = (column + xy_scale * sigmoid(t[0]) - (xy_scale - 1) / 2) * stride
    y = (row + xy_scale * sigmoid(t[1]) - (xy_scale - 1) / 2) * stride
    w, h = anchor[0] * math.exp(t[2]), anchor[1] * math.exp(t[3])
    return (x - w / 2, y - h / 2, x + w / 2, y + h / 2)


def claims(box, anchors, sizes, strides, rule, max_ratio):
    """All (level, row, column, anchor, in its own cell, shape IoU) that the rule gives one object."""
    w, h = box[2] - box[0], box[3] - box[1]
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    if w <= 0 or h <= 0:
        return []
    shapes = {}
    for level, level_anchors in enumerate(anchors):
        for a, (aw, ah) in enumerate(level_anchors):
            overlap = min(w, aw) * min(h, ah)
            shapes[level, a] = overlap / (w * h + aw * ah - overlap)
    best = max(shapes, key=lambda key: (shapes[key], -key[0], -key[1]))
    wanted = [best]
    if rule == "neighbours":
        fitting = [
            (level, a)
            for level, a in shapes
            if max(
                w / anchors[level][a][0], anchors[level][a][0] / w, h / anchors[level][a][1], anchors[level][a][1] / h
            )
            < max_ratio
        ]
        wanted = fitting or [best]
    found = []
    for level, a in wanted:
        rows, columns = sizes[level]
        column = min(int(x / strides[level]), columns - 1)
        row = min(int(y / strides[level]), rows - 1)
        cells = [(row, column, True)]
        if rule == "neighbours":
            right, down = x / strides[level] - column, y / strides[level] - row
            if right != 0.5:
                cells.append((row, column + (1 if right > 0.5 else -1), False))
            if down != 0.5:
                cells.append((row + (1 if down > 0.5 else -1), column, False))
        for r, c, own in cells:
            if 0 <= r < rows and 0 <= c < columns:
                found.append((level, r, c, a, own, shapes[level, a]))
    return found


def assignment(batch, objects, anchors, sizes, strides, rule, max_ratio):
    """{(image, level, row, column, anchor): object number}; objects: (image, label, box)."""
    taken = {}
    for number, (image, _, box) in enumerate(objects):
        for level, r, c, a, own, likeness in claims(box, anchors, sizes, strides, rule, max_ratio):
            place, claim = (image, level, r, c, a), (own, likeness, -number)
            if place not in taken or claim > taken[place][0]:
                taken[place] = (claim, number)
    return {place: number for place, (_, number) in taken.items()}


def loss(raw_maps, objects, regions, anchors, strides, xy_scale, settings):
    """raw_maps: per level [B][A*(5+K)][h][w]; objects: (image, label, box); regions: (image, box)."""
    batch, per_level = len(raw_maps[0]), len(anchors[0])
    sizes = [(len(level[0][0]), len(level[0][0][0])) for level in raw_maps]
    channels = len(raw_maps[0][0]) // per_level
    image_area = sizes[0][0] * sizes[0][1] * strides[0] ** 2
    taken = assignment(batch, objects, anchors, sizes, strides, settings.assignment, settings.max_anchor_ratio)
    positives_of = [list(taken.values()).count(number) for number in range(len(objects))]
    parts = {"box": 0.0, "objectness": 0.0, "classes": 0.0}
    for image in range(batch):
        for level, (rows, columns) in enumerate(sizes):
            for r in range(rows):
                for c in range(columns):
                    for a in range(per_level):
                        p = [raw_maps[level][image][a * channels + k][r][c] for k in range(channels)]
                        box = decode(p[:4], c, r, anchors[level][a], strides[level], xy_scale)
                        number = taken.get((image, level, r, c, a))
                        if number is None:
                            near = settings.ignore_iou < 1 and any(
                                iou(box, o) > settings.ignore_iou for i, _, o in objects if i == image and area(o) > 0
                            )
                            inside = any(
                                common(box, region) > settings.ignore_region_overlap * area(box)
                                for i, region in regions
                                if i == image
                            )
                            if not near and not inside:
                                parts["objectness"] += settings.balance[level] * bce(p[4], 0)
                            continue
                        _, label, wanted = objects[number]
                        target = iou(box, wanted) if settings.objectness_iou_target else 1
                        parts["objectness"] += settings.balance[level] * bce(p[4], target)
                        share = 1 / positives_of[number]
                        parts["classes"] += share * sum(bce(p[5 + k], k == label) for k in range(channels - 5))
                        if settings.kind == "ciou":
                            parts["box"] += share * ciou(box, wanted)
                            continue
                        x, y = (
                            (wanted[0] + wanted[2]) / 2 / strides[level],
                            (wanted[1] + wanted[3]) / 2 / strides[level],
                        )
                        tx = min(max((x - c + (xy_scale - 1) / 2) / xy_scale, 0), 1)
                        ty = min(max((y - r + (xy_scale - 1) / 2) / xy_scale, 0), 1)
                        tw = math.log((wanted[2] - wanted[0]) / anchors[level][a][0])
                        th = math.log((wanted[3] - wanted[1]) / anchors[level][a][1])
                        small = 2 - area(wanted) / image_area
                        squares = ((p[2] - tw) ** 2 + (p[3] - th) ** 2) / 2
                        parts["box"] += share * small * (bce(p[0], tx) + bce(p[1], ty) + squares)
    parts = {name: value * settings.gain * getattr(settings, name) / batch for name, value in parts.items()}
    return parts | {"total": sum(parts.values())}
