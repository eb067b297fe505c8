#!/bin/sh
# Trains and publishes the models in this folder again, in the working folder; hours on two cores, resumable.
#
#     lstm/train.sh BINARY TEACHERS PUBLISHED
#
# BINARY     the sample's official binary files
# TEACHERS   the folder of the 2020 project's weights
# PUBLISHED  the folder to publish into: this one
set -e
here=$(cd "$(dirname "$0")" && pwd)
# What the recipe was when most of these began, all but the base model for 100 categories; options behind it count.
# Prefix truncation then kept a fifth to all of the points; now a quarter to four fifths. There was no pen noise yet.
# In all of them neighbours in a batch were augmented by the same random numbers, each a step later, and what began with a
# published model began with its calibrated logits.
adam="--recipe strong --optimizer adam --learning-rate 0.003 --batch-size 512"
points=bipool_cv1_64_5_cv2_128_5_2_lay2_sz144
small=bipool_cv1_48_5_cv2_64_5_2_lay2_sz48
ln -sfn "$1" binary
ln -sfn "$2" seed
cp "$here/../benchmarks/sample46.txt" .

# The last 80 of the first 500 drawings of 46 categories are for the final score of their models alone.
test -d sample46 || quickstroke prepare binary --into sample46 --classes sample46.txt --n-train 420 --n-val 0 --n-test 80
test -d all345 || quickstroke prepare binary --into all345 --fractions 0.9 0.05 0.05 --held-out sample46

# All 345 categories, labels alone: what the others begin with. The larger model is that of 46 categories, and a teacher.
words345="--data all345 $adam --resume"
quickstroke train $points $words345 --into pre_base --n-epochs 26
quickstroke train $small $words345 --into pre_small --n-epochs 24

# 46 categories, labels alone.
labels="--data all345 --train-classes sample46.txt $adam --class-balance 0.5 --resume"
quickstroke train $points $labels --into runs5/sample46/$points --n-epochs 40 --pretrained pre_base --learning-rate 0.0015 \
  --batch-size 256
quickstroke train $small $labels --into runs46/$small --n-epochs 40 --pretrained pre_small --learning-rate 0.002 \
  --batch-size 256 --dropout 0.1 --label-smoothing 0.05

# 100 categories, labels and teachers.
taught="--data all345 --train-classes classes2020 $adam --class-balance 0.6 --resume
  --teacher seed/simple_lay2_sz256.model seed/simple_lay1_sz256.model --teacher-cache runs/teacher"
quickstroke train $points $taught --other-class-fraction 0.4 --n-cached-epochs 40 --into runs/$points --n-epochs 40 --pretrained pre_base \
  --learning-rate 0.002
quickstroke train $small $taught --other-class-fraction 0.4 --n-cached-epochs 40 --into runs/$small --n-epochs 40 --pretrained pre_small \
  --learning-rate 0.002 --batch-size 256 --dropout 0.1 --label-smoothing 0.05

# The document's own, which have little to overfit with.
plain="--other-class-fraction 0.1 --n-cached-epochs 10 --augment geometric --batch-size 128 --max-grad-norm 0.3 --label-smoothing 0"
quickstroke train simple_lay1_sz64 $taught $plain --into runs/simple_lay1_sz64 --n-epochs 60 --dropout 0 \
  --learning-rate 0.006
quickstroke train simple_lay1_sz64 $taught $plain --into second/simple_lay1_sz64 --n-epochs 60 --dropout 0 \
  --learning-rate 0.004 --pretrained runs/simple_lay1_sz64
quickstroke train simple_lay2_sz64 $taught $plain --into runs/simple_lay2_sz64 --n-epochs 30 --dropout 0 \
  --learning-rate 0.006
quickstroke train simple_lay1_sz256 $taught $plain --into runs/simple_lay1_sz256 --n-epochs 16 --dropout 0.1 \
  --learning-rate 0.004

# Once more, with the larger model of 100 categories as a third teacher. The published ones had their first schedules,
# and this one its second, when augmentation did not yet lift pens or draw strokes over.
test -d first || quickstroke publish runs/$points --into first
taught="--data all345 --train-classes classes2020 $adam --class-balance 0.6 --resume
  --teacher seed/simple_lay2_sz256.model seed/simple_lay1_sz256.model first/$points.model --teacher-cache runs/teacher
  --other-class-fraction 0.5 --n-cached-epochs 40"
quickstroke train $points $taught --into runs4/$points --n-epochs 40 --pretrained runs/$points --learning-rate 0.002 \
  --distillation-weight 0.8
quickstroke train $points $taught --into runs5/$points --n-epochs 16 --pretrained runs4/$points --learning-rate 0.0015
quickstroke train $small $taught --into runs4/$small --n-epochs 40 --pretrained runs/$small --learning-rate 0.002 \
  --distillation-weight 0.8 --batch-size 256 --dropout 0.1 --label-smoothing 0.05
plain="--distillation-weight 0.9 --augment geometric --batch-size 128 --max-grad-norm 0.3 --label-smoothing 0 --dropout 0"
quickstroke train simple_lay1_sz64 $taught $plain --into runs5/simple_lay1_sz64 --n-epochs 80 --learning-rate 0.004 \
  --pretrained second/simple_lay1_sz64
quickstroke train simple_lay2_sz64 $taught $plain --into runs5/simple_lay2_sz64 --n-epochs 40 --learning-rate 0.004 \
  --pretrained runs/simple_lay2_sz64
quickstroke train simple_lay1_sz256 $taught $plain --into runs5/simple_lay1_sz256 --n-epochs 14 --learning-rate 0.003 \
  --dropout 0.1 --pretrained runs/simple_lay1_sz256

# The smallest once more, taught by that model and with a mixup weight for each stroke, as it is now:
# few drawings of a word give many. All before had mixup weights of a half at most.
for name in $points simple_lay1_sz64; do test -f third/$name.model || quickstroke publish runs5/$name --into third; done
taught="--data all345 --train-classes classes2020 $adam --resume --teacher third/$points.model
  --teacher-cache runs/teacher"
quickstroke train simple_lay1_sz64 $taught $plain --class-balance 0.6 --other-class-fraction 0.7 --n-cached-epochs 50 \
  --into first6/simple_lay1_sz64 --n-epochs 100 --learning-rate 0.004 --pretrained third/simple_lay1_sz64.model
quickstroke train simple_lay1_sz64 $taught $plain --class-balance 0.9 --other-class-fraction 0.5 --n-cached-epochs 40 \
  --into runs6/simple_lay1_sz64 --n-epochs 80 --learning-rate 0.004 --pretrained first6/simple_lay1_sz64

# And so all, taught by what knows the validation drawings of rare words best: the better of the 2020 models with ours.
# The epoch is the one that does best by words.
quickstroke publish runs6/simple_lay1_sz64 --into third --replace
for run in runs4/$small runs5/simple_lay2_sz64 runs5/simple_lay1_sz256; do
  test -f third/$(basename $run).model || quickstroke publish $run --into third
done
taught="--data all345 --train-classes classes2020 $adam --resume --select-by balanced_loss
  --teacher seed/simple_lay2_sz256.model third/$points.model --teacher-cache runs/teacher --class-balance 0.8"
wide="$taught --other-class-fraction 0.5 --n-cached-epochs 20"
quickstroke train simple_lay1_sz64 $wide $plain --into runs7/simple_lay1_sz64 --n-epochs 60 --learning-rate 0.004 \
  --pretrained third/simple_lay1_sz64.model
quickstroke train simple_lay2_sz64 $wide $plain --into runs7/simple_lay2_sz64 --n-epochs 45 --learning-rate 0.004 \
  --pretrained third/simple_lay2_sz64.model
quickstroke train $small $wide --into runs7/$small --n-epochs 50 --pretrained third/$small.model \
  --learning-rate 0.002 --distillation-weight 0.85 --batch-size 256 --dropout 0.1 --label-smoothing 0.05
quickstroke train simple_lay1_sz256 $wide $plain --into runs7/simple_lay1_sz256 --n-epochs 25 --learning-rate 0.003 \
  --dropout 0.1 --pretrained third/simple_lay1_sz256.model

# Then with few drawings of other words: of what teachers say of all of these a small model has no room to learn more.
narrow="$taught --other-class-fraction 0.15 --n-cached-epochs 8"
quickstroke train $small $narrow --into runs9/$small --n-epochs 48 --pretrained runs7/$small --learning-rate 0.002 \
  --distillation-weight 0.85 --batch-size 256 --dropout 0.05 --label-smoothing 0
quickstroke train simple_lay1_sz64 $narrow $plain --into runs9/simple_lay1_sz64 --n-epochs 60 --learning-rate 0.003 \
  --pretrained runs7/simple_lay1_sz64
quickstroke train simple_lay1_sz64 $narrow $plain --into runs10/simple_lay1_sz64 --n-epochs 80 --learning-rate 0.004 \
  --pretrained runs9/simple_lay1_sz64

# The small one with drawings changed less far, which serves frequent words, and the geometric mean of the teachers, which
# is what is taken now ...
light="$taught --other-class-fraction 0.2 --n-cached-epochs 10 --augment-magnitude 0.5"
quickstroke train $small $light --into runs11/$small --n-epochs 40 --pretrained runs9/$small \
  --learning-rate 0.002 --distillation-weight 0.85 --batch-size 256 --dropout 0.05 --label-smoothing 0

# ... and at last with mixup of similar drawings alone, as it is now: all before was of any two of a word.
similar="$taught --other-class-fraction 0.25 --n-cached-epochs 10 --augment-magnitude 0.5"
quickstroke train $small $similar --into runs13/$small --n-epochs 40 --pretrained runs11/$small --learning-rate 0.002 \
  --distillation-weight 0.85 --batch-size 256 --dropout 0.05 --label-smoothing 0
quickstroke train simple_lay1_sz64 $similar $plain --into runs13/simple_lay1_sz64 --n-epochs 60 --learning-rate 0.003 \
  --pretrained runs10/simple_lay1_sz64

# And by the better 2020 model alone, which has not learnt these drawings by heart, of which a quarter have a random
# rotation: it knows what lies down or stands on its head, which few drawings of a word do. The result is the mean of what
# these trainings came to and, but for the small model, of what they began with; its one epoch hardly moves it.
test -d fourth || for run in runs13/$small runs13/simple_lay1_sz64 runs7/simple_lay2_sz64 runs7/simple_lay1_sz256; do
  quickstroke publish $run --into fourth
done
turned="--data all345 --train-classes classes2020 $adam --resume --select-by balanced_loss
  --teacher seed/simple_lay2_sz256.model --teacher-cache runs/teacher --class-balance 0.8 --other-class-fraction 0.25
  --augment-magnitude 0.5 --random-rotation 0.25 --label-smoothing 0"
still="--n-cached-epochs 24 --n-epochs 1 --learning-rate 0.000001"
own="--batch-size 256 --distillation-weight 0.85 --dropout 0.05"
quickstroke train $small $turned $own --n-cached-epochs 12 --into runs15/$small --n-epochs 40 --learning-rate 0.002 \
  --pretrained fourth/$small.model --seed 1
quickstroke train $small $turned $own --n-cached-epochs 24 --into runs16/$small --n-epochs 36 --learning-rate 0.002 \
  --pretrained runs15/$small/last.model --seed 2
quickstroke train $small $turned $own $still --into runs17/$small \
  --pretrained runs15/$small/last.model runs16/$small/last.model
own="--batch-size 128 --distillation-weight 0.9 --dropout 0 --augment geometric --max-grad-norm 0.3"
quickstroke train simple_lay2_sz64 $turned $own --n-cached-epochs 24 --into runs15/simple_lay2_sz64 --n-epochs 30 \
  --learning-rate 0.003 --pretrained fourth/simple_lay2_sz64.model
quickstroke train simple_lay1_sz256 $turned $own --n-cached-epochs 24 --into runs15/simple_lay1_sz256 --n-epochs 12 \
  --learning-rate 0.003 --pretrained fourth/simple_lay1_sz256.model --dropout 0.1
for name in simple_lay2_sz64 simple_lay1_sz256; do
  quickstroke train $name $turned $own $still --into runs17/$name \
    --pretrained fourth/$name.model runs15/$name/last.model
done
name=simple_lay1_sz64
quickstroke train $name $turned $own --n-cached-epochs 12 --into runs15/$name --n-epochs 40 --learning-rate 0.003 \
  --pretrained fourth/$name.model
quickstroke train $name $turned $own --n-cached-epochs 24 --into runs16/$name --n-epochs 60 --learning-rate 0.004 \
  --pretrained fourth/$name.model runs15/$name/last.model --seed 1
quickstroke train $name $turned $own $still --into runs17/$name \
  --pretrained fourth/$name.model runs15/$name/last.model runs16/$name/last.model

# The base model looks at the image of a drawing, too. All words; what the better 2020 model says; fewer cached epochs,
# once more without dropout; and then by LSTMs that have a step for every fourth point in place of every second, from
# the mean of these two: the convolutions stay what they are, and a guess takes less time. The mean of two such
# trainings is taken by one of an epoch, which hardly moves it. The published model was trained by version 0.1.0 with two
# options more, which that version had and which gave nothing measurable (docs/experiments.md): label log-odds from 2 to
# 5, and cross-class mixup where the number of cached epochs is 16.
half=bipool_cv1_64_5_cv2_128_5_2_img32_lay2_sz112
base=bipool_cv1_64_5_cv2_128_5_4_img32_lay2_sz112
taught="--data all345 --train-classes classes2020 --recipe strong --resume --select-by balanced_loss
  --teacher seed/simple_lay2_sz256.model --teacher-cache runs/teacher --class-balance 0.8 --other-class-fraction 0.25
  --augment-magnitude 0.5 --random-rotation 0.25 --label-smoothing 0 --distillation-weight 1"
cached="--n-cached-epochs 16"
quickstroke train $half --data all345 --recipe strong --resume --into runs70/$half --n-epochs 12
quickstroke train $half $taught --into runs71/$half --n-epochs 40 --learning-rate 0.01 --dropout 0.15 \
  --n-cached-epochs 24 --prefix-truncation 0.5 --seed 1 --pretrained runs70/$half
quickstroke train $half $taught $cached --into runs72/$half --n-epochs 20 --learning-rate 0.005 \
  --dropout 0.15 --prefix-truncation 0.6 --seed 2 --pretrained runs71/$half/last.model
quickstroke train $half $taught $cached --into runs74/$half --n-epochs 13 --learning-rate 0.005 \
  --dropout 0 --prefix-truncation 0.6 --seed 4 --pretrained runs71/$half/last.model runs72/$half/last.model
from="--pretrained runs72/$half/last.model runs74/$half/last.model"
quickstroke train $base $taught $cached --into runs98/$base --n-epochs 12 --learning-rate 0.006 \
  --dropout 0.05 --prefix-truncation 0.6 --seed 6 $from
quickstroke train $base $taught $cached --into runs99/$base --n-epochs 12 --learning-rate 0.006 \
  --dropout 0.05 --prefix-truncation 0.5 --seed 7 $from
quickstroke train $base $taught $cached --into runs100/$base --n-epochs 1 --learning-rate 0.000001 \
  --dropout 0.05 --prefix-truncation 0.6 --pretrained runs98/$base/last.model runs99/$base/last.model

# So far there was no pen noise; in the next four 15% of the drawings have it, and in the last affine jitter as well, as
# the recipe has it now. The result is the mean of that mean and of these.
own="--dropout 0.05 --n-epochs 12"
from="--pretrained runs98/$base/last.model runs99/$base/last.model"
quickstroke train $base $taught $own --into runs101/$base --learning-rate 0.006 --n-cached-epochs 24 \
  --prefix-truncation 0.6 --seed 8 $from
quickstroke train $base $taught $own $cached --into runs102/$base --learning-rate 0.006 \
  --prefix-truncation 0.7 --seed 9 $from
from="$from runs101/$base/last.model runs102/$base/last.model"
quickstroke train $base $taught $own $cached --into runs103/$base --learning-rate 0.005 \
  --prefix-truncation 0.6 --seed 10 $from
quickstroke train $base $taught $own --into runs104/$base --learning-rate 0.005 --n-cached-epochs 24 \
  --prefix-truncation 0.65 --seed 11 $from
quickstroke train $base $taught $cached --into runs110/$base --n-epochs 1 --learning-rate 0.000001 \
  --dropout 0.05 --prefix-truncation 0.6 --pretrained runs100/$base/last.model runs101/$base/last.model \
  runs102/$base/last.model runs103/$base/last.model runs104/$base/last.model

hundred="runs110/$base runs17/$small runs17/simple_lay1_sz64 runs17/simple_lay2_sz64 runs17/simple_lay1_sz256"
sample46="runs46/$small runs5/sample46/$points"
for run in $hundred; do quickstroke publish $run --into "$3" --replace; done
for run in $sample46; do quickstroke publish $run --into "$3/sample46" --test-data sample46 --replace; done
quickstroke report $hundred --into "$3/results.md"
quickstroke report $sample46 --into "$3/sample46/results.md"
