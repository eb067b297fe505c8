#!/bin/sh
# Trains the models of this folder, each by two commands, and publishes them. It works in the current folder, and given
# once more goes on where it was stopped.
#
#     lstm/train.sh DATA TEACHERS PUBLISHED
#
# DATA       drawing files of the 345 words, or the dataset that `quickstroke prepare` made of them
# TEACHERS   a folder with bitmap/ (networks for all words), seed/ and teachers/ (weights of the 2020 project)
# PUBLISHED  the folder to publish into: this one
set -eu

base=bipool_cv1_64_5_cv2_96_5_4_img32_lay2_sz96
small=bipool_cv1_48_5_cv2_64_5_4_img13_lay1_sz48
document="simple_lay1_sz64 simple_lay1_sz256 simple_lay2_sz64"

# Of DATA's drawings; those of a folder that may teach but not judge: --train-only FOLDER.
prepare="--fractions 0.9 0.05 0.05"
for_all="--data data --select-by balanced_loss --class-balance 0.5 --distillation-weight 0.6 --n-cached-epochs 0
  --teacher-cache answers --teacher models/bitmap/doodlenet.onnx models/bitmap/trekhleb_cnn.onnx
  models/bitmap/google_sketcher.onnx models/seed/simple_lay2_sz256.model models/teachers/bilstm_lay1_sz256.model
  models/teachers/lstm_cv1_128_5_lay2_sz128.model"
# First the drawings as they are, at a high learning rate; then augmented ones.
first="--batch-size 128 --learning-rate 0.012 --n-epochs 4"
second="--batch-size 128 --learning-rate 0.008 --n-epochs 16 --warmup 0.02 --ema-decay 0.999 --augment strokes
  --augment-magnitude 0.25 --prefix-truncation 0.3"

# train NAME [OPTION...]: both stages, with further options for both.
train() {
  name=$1
  shift
  quickstroke train "$name" $for_all $first "$@" --into "first/$name" --resume
  quickstroke train "$name" $for_all $second "$@" --into "second/$name" --pretrained "first/$name" --resume
  test "$name" = $base && default=--default || default=
  quickstroke publish "second/$name" --into "$published" --replace $default
}

published=$3
ln -sfn "$2" models
if test -f "$1/manifest.json"; then
  ln -sfn "$1" data
else
  test -d data || quickstroke prepare "$1" --into data $prepare --resume
fi
train $base --dropout 0.1
train $small
for name in $document; do train "$name" --train-classes classes2020; done
quickstroke report second/* --into "$published/results.md"
