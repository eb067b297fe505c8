#!/bin/sh
# Trains the models of this folder, each by three commands, the default model by four, and publishes them. It works in the
# current folder, and given once more goes on where it was stopped.
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
for_all="--data data --select-by balanced_loss --n-cached-epochs 0 --teacher-cache answers --batch-size 128 --resume"
teachers="models/bitmap/doodlenet.onnx models/bitmap/trekhleb_cnn.onnx models/bitmap/google_sketcher.onnx
  models/seed/simple_lay2_sz256.model models/teachers/bilstm_lay1_sz256.model
  models/teachers/lstm_cv1_128_5_lay2_sz128.model"
# First the drawings as they are, at a high learning rate; then augmented ones, the default model twice; at last drawings that
# are hardly augmented. Beside the given teachers are those models, in the end, that know all words after two stages.
first="--n-epochs 4 --learning-rate 0.012 --class-balance 0.5 --distillation-weight 0.6"
augmented="--warmup 0.02 --augment strokes --augment-magnitude 0.25"
second="$augmented --n-epochs 16 --learning-rate 0.008 --class-balance 0.5 --distillation-weight 0.6 --ema-decay 0.999
  --prefix-truncation 0.3"
third="$augmented --n-epochs 14 --learning-rate 0.005 --class-balance 0.6 --distillation-weight 0.5 --ema-decay 0.9997
  --prefix-truncation 0.35"
last="--warmup 0.02 --augment strokes --augment-magnitude 0.05 --n-epochs 3 --learning-rate 0.001 --class-balance 0.7
  --distillation-weight 0.35 --ema-decay 0.999 --prefix-truncation 0.2"

# train STAGE FROM NAME [OPTION...]: one training, which begins with the weights of stage FROM.
train() {
  stage=$1 from=$2 name=$3
  shift 3
  quickstroke train "$name" $for_all "$@" --into "$stage/$name" --pretrained ${from:+"$from/$name"}
}

two() {
  train first "" "$@" $first --teacher $teachers
  train second first "$@" $second --teacher $teachers
}

ln -sfn "$2" models
if test -f "$1/manifest.json"; then ln -sfn "$1" data; fi
test -d data || quickstroke prepare "$1" --into data $prepare --resume
two $base --dropout 0.1
own="second/$base second/$base second/$base second/$small"
words=
for name in $small $document; do
  two $name $words
  train last second $name $words $last --teacher $teachers $own
  words="--train-classes classes2020"
done
train third second $base --dropout 0.1 $third --teacher $teachers $own
train last third $base --dropout 0.1 $last --teacher $teachers $own
quickstroke publish last/$base --into "$3" --replace --default
for name in $small $document; do quickstroke publish "last/$name" --into "$3" --replace; done
quickstroke report last/* --into "$3/results.md"
