#!/bin/sh
# What DensePose does, in two parts: photos with their maps, then a model that learns a new look.
# Every command is printed before it runs and can be pasted into a shell. Repeat to resume.
#   DEMO=folder     where everything goes (output/demo)
#   MINUTES=4       time of the training
#   DENSEPOSE=path  the command (densepose)
set -eu
DEMO=${DEMO:-output/demo}
MINUTES=${MINUTES:-4}
DENSEPOSE=${DENSEPOSE:-densepose}
export DETECTRON2_DATASETS="$DEMO"

run() {
    printf '\n$ densepose'
    for word; do
        case $word in
        *[!A-Za-z0-9_./:=,@+-]*) printf " '%s'" "$(printf %s "$word" | sed "s/'/'\\\\''/g")" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    "$DENSEPOSE" "$@"
}

echo "Part 1 of 2: people in pictures, and where on the body each of their pixels lies."
printf '\n$ export DETECTRON2_DATASETS=%s\n' "'$DEMO'"
run make-data --output "$DEMO/pictures" --num-train 1 --num-val 8 --seed 7
run predict "$DEMO/pictures/images/val" --output "$DEMO/predicted" --save page,iuv,npz
echo "Look at $DEMO/predicted/index.html now. The second part takes about $MINUTES minutes more."

echo
echo "Part 2 of 2: the weights of the package learn the look of a night camera."
run make-data --output "$DEMO/densepose_synthetic" --num-train 600 --num-val 100 --camera night
run evaluate --config-file cpu/fine_tune --output "$DEMO/before" --save-predictions
run train --config-file cpu/fine_tune --output "$DEMO/after" --resume \
    SOLVER.MAX_ITER 1000000 SOLVER.MAX_MINUTES "$MINUTES" DENSEPOSE_EVALUATION.STORAGE file
run report "$DEMO/after" --before "$DEMO/before"
echo "Before and after on one page: $DEMO/after/report.html"
