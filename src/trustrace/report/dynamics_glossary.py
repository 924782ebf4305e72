"""What the numbers of a comparison of checkpoints mean."""

from trustrace.report.glossary import Term

TERMS = (
    Term(
        name="transfer auroc",
        title="Transfer",
        sentence="The area under the ROC curve of a probe that was fitted on the training rows of one view and scored on the held-out rows "
        "of another; no group of statements stands on both sides. On the diagonal it is the ordinary measurement. Below 1/2 the direction "
        "has turned round. Far from 1/2 on either side is no proof of a shared concept: where a view tells its statements apart along many "
        "directions, one that has nothing to do with them reads it too, and the interval covers the tested statements alone. The null says "
        "how far.",
    ),
    Term(
        name="transfer auroc null",
        title="Null of a transfer",
        sentence="What chance reaches in 95 % of draws: random directions, the source's probes fitted to permuted labels, and these "
        "scored on the labels that they were fitted to; the band holds all three, the p-value is the largest. Whole groups are exchanged, "
        "with groups of one size inside a fold. Where no draw is as far, the p-value is that of a power-law tail. "
        "The q-value controls false discoveries over all pairs of all sites, and apart from them over the diagonal, where only the last "
        "is a null.",
    ),
    Term(
        name="accuracy emergence",
        title="Emergence",
        sentence="Above its floor: the first checkpoint from which on accuracy stays above the highest floor of the text by a margin. Half "
        "of the rise: from where on half of it is covered, until the peak. Sudden step and logistic rise: the place of the step, and the "
        "middle of the logistic curve on the logarithm of tokens, that are closest to the curve. The last three need a significant rise.",
    ),
    Term(
        name="direction cosine",
        title="Cosine, ceiling and corrected cosine",
        sentence="Between directions fitted on different halves of the statements, so that noise cannot agree with itself; the ceiling is "
        "what that cosine would be, had the direction not turned; the corrected cosine is their ratio, and undefined where a direction is "
        "not reliable.",
    ),
    Term(
        name="learned",
        title="Always right, learned, lost, never right",
        sentence="By the probe that was fitted without the statement's group. Learned: wrong at some checkpoint and right from a later one "
        "on to the end. Lost: right at some checkpoint and wrong at the last.",
    ),
    Term(
        name="forgettings",
        title="Forgotten",
        sentence="How often a statement is right at one checkpoint and wrong at the next. Predictions flicker: it means nothing without "
        "what chance gives, in random order of the statement's own checkpoints, and for strangers drawn anew at each checkpoint.",
    ),
    Term(
        name="noise tolerance",
        title="Noise tolerance",
        sentence="The noise, in units of each feature's spread inside the classes, that brings accuracy halfway down to 1/2: how little is "
        "fragile. A growing norm changes nothing.",
    ),
    Term(
        name="accuracy change",
        title="Change and q-value",
        sentence="Accuracy at the later checkpoint less that at the earlier one; tested by exchanging the predictions of whole "
        "groups, allowing for what they owe to each other as training rows; false discoveries are controlled over all pairs and sites.",
    ),
    Term(
        name="one run",
        title="One run",
        sentence="Intervals cover the choice of statements, not another seed of training.",
    ),
)
