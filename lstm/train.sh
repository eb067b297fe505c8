#!/bin/sh
# Trains the models of this folder, the two that know all words by four commands each, the others by one or two, and publishes
# them. It works in the current folder, and given once more goes on where it was stopped.
#
#     lstm/train.sh DATA PUBLISHED [TEACHERS]
#
# DATA       drawing files of the 345 words, or the dataset that `quickstroke prepare` made of them
# PUBLISHED  the folder to publish into: this one
# TEACHERS   a folder of models that teach, as docs/howto/everything.md says; without it labels do, and the models each other
set -eu
base=bipool_cv1_64_5_cv2_96_5_4_img32_lay2_sz96
small=bipool_cv1_48_5_cv2_64_5_4_img13_lay1_sz48 wide=simple_lay1_sz256
all="--data data --select-by balanced_loss --n-cached-epochs 0 --teacher-cache answers --batch-size 128 --resume"
some="" given="" anew=$wide
if test -n "${3-}"; then
  ln -sfn "$3" models
  some="models/bitmap/doodlenet.onnx models/seed/simple_lay2_sz256.model models/teachers/bilstm_lay1_sz256.model"
  given="$some models/bitmap/trekhleb_cnn.onnx models/bitmap/google_sketcher.onnx models/teachers/lstm_cv1_128_5_lay2_sz128.model"
  anew=""
fi
# First the drawings as they are, at a high learning rate; then augmented ones, twice; at last drawings that are hardly
# augmented. Beside the given teachers are those models, in the end, that know all words after two stages. The third stage of
# the small one has the default one and three others for teachers, which are asked about the augmented drawings.
first="--n-epochs 4 --learning-rate 0.012 --class-balance 0.5 --distillation-weight 0.6"
augmented="--warmup 0.02 --augment strokes --augment-magnitude 0.25"
second="$augmented --n-epochs 16 --learning-rate 0.008 --class-balance 0.5 --distillation-weight 0.6 --ema-decay 0.999
  --prefix-truncation 0.3"
third="$augmented --n-epochs 14 --learning-rate 0.005 --class-balance 0.6 --distillation-weight 0.5 --ema-decay 0.9997
  --prefix-truncation 0.35"
asked="$augmented --n-epochs 10 --learning-rate 0.006 --class-balance 0.7 --distillation-weight 0.8 --ema-decay 0.9995
  --prefix-truncation 0.3 --n-cached-epochs 4"
last="--warmup 0.02 --augment strokes --augment-magnitude 0.05 --n-epochs 3 --learning-rate 0.001 --class-balance 0.7
  --distillation-weight 0.35 --ema-decay 0.999 --prefix-truncation 0.2"
# Of the models of 100 words two are taught by the default one, which is asked about augmented drawings, theirs and others;
# the third goes on with its weights of 2020 and reads drawings padded, as they do. Where they are not given it is taught, too.
words="--train-classes classes2020"
distilled="--n-epochs 90 --learning-rate 0.015 --class-balance 0.8 --distillation-weight 0.85 --ema-decay 0.999 --warmup 0.03
  --augment geometric --geometric-magnitude 0.5 --n-cached-epochs 8 --other-class-fraction 0.2"
padded="--n-epochs 4 --learning-rate 0.002 --class-balance 0.6 --distillation-weight 0.9 --ema-decay 0.998 --recipe 2020
  --optimizer muon --schedule cosine --warmup 0.05 --max-grad-norm 1 --weight-decay 0.01 --normalization fixed"

# train STAGE FROM NAME TEACHERS [OPTION...]: one training, begun with the weights FROM; an OPTION goes before one of `all`.
train() {
  stage=$1 from=$2 name=$3 teachers=$4; shift 4
  quickstroke train "$name" $all "$@" --into "$stage/$name" --pretrained $from --teacher $teachers
}
if test -f "$1/manifest.json"; then ln -sfn "$1" data; fi
test -d data || quickstroke prepare "$1" --into data --fractions 0.9 0.05 0.05 --resume
train first "" $base "$given" $first --dropout 0.1; train second first/$base $base "$given" $second --dropout 0.1
train first "" $small "$given" $first; train second first/$small $small "$given" $second
both="$given second/$base second/$base second/$base second/$small"
train third second/$base $base "$both" $third --dropout 0.1; train last third/$base $base "$both" $last --dropout 0.1
train third second/$small $small "last/$base $some" $asked; train last third/$small $small "$both" $last
for name in simple_lay1_sz64 simple_lay2_sz64 $anew; do
  train first "" $name "$given" $words $first; train last first/$name $name last/$base $words $distilled
done
test -z "$given" || train last models/seed/$wide.model $wide "$given models/seed/$wide.model" $words $padded
quickstroke publish last/$base --into "$2" --replace --default
for name in $small $wide simple_lay1_sz64 simple_lay2_sz64; do quickstroke publish last/$name --into "$2" --replace; done
quickstroke report last/* --into "$2/results.md"
