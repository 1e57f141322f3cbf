"""The layouts of pictures with classes, read right; what is wrong with them, said in one line."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10, ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from data.annotation import DatasetError
from data.cache import CacheSpec
from data.pictures import CIFAR, SUFFIXES, open_pictures, titles


def write(path: Path, colour: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 6, 3), colour, np.uint8))


@pytest.fixture()
def folders(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for number, name in enumerate(("cat", "ant", "bee")):
            for k in range(2):
                write(tmp_path / split / name / f"{k}.png", 10 * number + k)
    return tmp_path


def test_class_folders_are_read_as_torchvision_reads_them(folders: Path) -> None:
    write(folders / "train" / "bee" / "deeper" / "x.JPEG")
    (folders / "train" / "bee" / "notes.txt").write_text("no picture")
    assert (IMG_EXTENSIONS, CIFAR10.base_folder) == (SUFFIXES, CIFAR)
    pictures, theirs = open_pictures(folders, "train"), ImageFolder(str(folders / "train"))
    assert list(pictures.classes) == theirs.classes
    names = [pictures.name(index) for index in range(len(pictures.labels))]
    found = sorted(zip(names, pictures.labels.tolist(), strict=True))
    assert found == sorted((str(Path(path).relative_to(folders)), label) for path, label in theirs.samples)
    assert pictures.read(names.index("train/cat/1.png"))[0, 0].tolist() == [1, 1, 1]


def test_labels_count_in_the_classes_trained_on_even_where_some_have_no_pictures(folders: Path) -> None:
    (folders / "val" / "ant").rename(folders / "elsewhere")
    pictures = open_pictures(folders, "val", ("ant", "bee", "cat"), allow_missing=True)
    assert pictures.labels.tolist() == [1, 1, 2, 2]


def test_tiny_imagenets_layout(tmp_path: Path) -> None:
    root = tmp_path / "tiny-imagenet-200"
    for name in ("n01", "n02"):
        write(root / "train" / name / "images" / f"{name}_0.JPEG")
    for k in range(3):
        write(root / "val" / "images" / f"val_{k}.JPEG")
    lines = "val_0.JPEG\tn02\t0\t0\t62\t62\nval_1.JPEG\tn01\t0\t0\t1\t1\nval_2.JPEG\tn02\t0\t0\t1\t1\n"
    (root / "val" / "val_annotations.txt").write_text(lines)
    for given in (tmp_path, root):
        train = open_pictures(given, "train")
        val = open_pictures(given, "val", train.classes)
        assert train.classes == ("n01", "n02") and train.labels.tolist() == [0, 1]
        names = [val.name(index) for index in range(3)]
        assert dict(zip(names, val.labels.tolist(), strict=True)) == {
            "val/images/val_0.JPEG": 1,
            "val/images/val_1.JPEG": 0,
            "val/images/val_2.JPEG": 1,
        }
    (root / "val" / "images" / "val_1.JPEG").unlink()
    with pytest.raises(DatasetError, match=r"val_annotations\.txt: 1 of its pictures are not in .*val_1\.JPEG"):
        open_pictures(root, "val")
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\n")
    with pytest.raises(DatasetError, match=r"val_annotations\.txt:1: 'val_0\.JPEG'; expected a file name and its cl"):
        open_pictures(root, "val")


def test_ids_of_wordnet_get_their_first_word(tmp_path: Path) -> None:
    assert titles(tmp_path, ("n01", "n02")) == {"n01": "n01", "n02": "n02"}
    (tmp_path / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn03\tnewt\n")
    assert titles(tmp_path, ("n01", "n02")) == {"n01": "n01 goldfish", "n02": "n02"}


def packed_cifar(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """CIFAR-10's folder with two pictures a file, and torchvision told their checksums."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 3072), dtype=np.uint8)

    def packed(name: str, content: dict[str, object]) -> list[str]:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    files = [packed(name, {"data": pixels[2 * k : 2 * k + 2], "labels": [k, k + 1]}) for k, name in enumerate(names)]
    monkeypatch.setattr(CIFAR10, "train_list", files[:5])
    monkeypatch.setattr(CIFAR10, "test_list", files[5:])
    meta = packed("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    return pixels.reshape(12, 3, 32, 32).transpose(0, 2, 3, 1)


def test_cifar10_as_its_authors_pack_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = packed_cifar(tmp_path, monkeypatch)
    train, test = (open_pictures(tmp_path, split) for split in ("train", "test"))
    assert train.classes == tuple("abcdefghij")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 1, 2, 2, 3, 3, 4, 4, 5], [5, 6])
    assert np.array_equal(train.read(3), pixels[3]) and np.array_equal(test.read(1), pixels[11])
    assert test.name(1) == "test/00001"
    with pytest.raises(DatasetError, match="has no split 'val'; use train or test"):
        open_pictures(tmp_path, "val")


class RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("made_by_a_data_set"),)  # type: ignore[return-value]


def test_a_packed_file_that_is_not_cifars_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed_cifar(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(pickle.dumps(RunsCode()))
    with pytest.raises(DatasetError, match="files are missing or damaged; remove it, and python -m data"):
        open_pictures(tmp_path, "train")
    assert not (tmp_path / "made_by_a_data_set").exists()


def test_a_cache_gives_the_same_pixels(folders: Path) -> None:
    plain, cached = open_pictures(folders, "train"), open_pictures(folders, "train", cache=CacheSpec("ram"))
    for _ in range(2):
        assert all(np.array_equal(plain.read(k), cached.read(k)) for k in range(len(plain.labels)))


def test_grey_cmyk_and_transparent_pictures_are_read_as_pillow_reads_them(folders: Path) -> None:
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.integers(0, 256, (4, 4, 4), dtype=np.uint8), (32, 32), interpolation=cv2.INTER_LINEAR)
    folder = folders / "train" / "ant"
    colours = Image.fromarray(smooth[..., :3])
    made = {
        "grey.png": colours.convert("L"),
        "grey.jpg": colours.convert("L"),
        "cmyk.jpg": colours.convert("CMYK"),
        "alpha.png": Image.fromarray(smooth, "RGBA"),
        "palette.png": colours.convert("P"),
    }
    for name, image in made.items():
        image.save(folder / name)
    pictures = open_pictures(folders, "train")
    names = [pictures.name(index) for index in range(len(pictures.labels))]
    for name in made:
        with Image.open(folder / name) as image:
            expected = np.asarray(image.convert("RGB")).astype(int)
        found = pictures.read(names.index(f"train/ant/{name}")).astype(int)
        assert np.abs(found - expected).max() <= 2, name  # the two decoders round colours differently


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda root: (root / "val").rename(root / "valid"), r"val: no such folder \(there are train, valid\)"),
        (lambda root: [path.unlink() for path in (root / "val" / "bee").iterdir()], r"1 of 3 .* \(first: bee\)"),
        (lambda root: [(root / "val" / name).rename(root / name) for name in ("ant", "bee")], r"only \(cat\)"),
        (lambda root: [(root / "val" / n).rename(root / n) for n in ("ant", "bee", "cat")], "no class folders"),
        (lambda root: (root / "val" / "bee").rename(root / "val" / "be"), r"1 unknown \(be\), 1 without .* \(bee\)"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folders: Path, harm: object, said: str) -> None:
    harm(folders)  # type: ignore[operator]
    with pytest.raises(DatasetError, match=said) as caught:
        open_pictures(folders, "val", ("ant", "bee", "cat"))
    assert str(folders / "val") in str(caught.value) and "\n" not in str(caught.value)


def test_a_root_that_is_not_there_names_the_download(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no data set is there\).*python -m data\.download"):
        open_pictures(tmp_path / "nowhere", "train")
