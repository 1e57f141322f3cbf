#!/bin/sh
# From a YOLO-format set to a detector of its classes, in four commands. From the project's folder:
#   sh examples/finetune_yolo.sh                   draws 200 street scenes as a YOLO set and trains on them
#   sh examples/finetune_yolo.sh my-set            your own: a folder with a data.yaml, as Roboflow and Ultralytics write it
#   sh examples/finetune_yolo.sh my-set "phases=[{size: [160, 512], epochs: 20, batch_size: 8}]"      and settings that differ
set -eu
set_=${1:-street}
[ $# -eq 0 ] || shift
[ -e "$set_" ] || python -m data.scenes "$set_" --frames 200 --format yolo

python -m data.doctor "$set_"
python train.py configs/finetune.yaml data.root="$set_" data.classes=auto train.runs=runs --name from-yolo "$@"
run=$(ls -td runs/from-yolo* | head -1)
python evaluate.py --weights "$run/best.pt" --data "$set_" --report "$run/report"
python detect.py "$set_" --weights "$run/best.pt" --max-frames 20 --output "$run/found"
echo "look at $run/report/index.html and $run/found/image"
