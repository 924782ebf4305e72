"""How much of a training's time may go into measuring, and which of its scheduled measurements that allows.

Where there is not time for all that are scheduled, those that are done are spread evenly over the schedule, so that the late ones, the last
among them, are not lost to the many early ones.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What was spent so far, and what is left.

    Attributes:
        share: Of the training's time, measuring left out; None allows everything.
        trained: Seconds that `steps` steps of training took.
        steps: Those steps.
        measured: Seconds that went into measuring, preparations included.
        cost: Seconds of the latest measurement; None before the first, which nobody can price.
        credit: The part of a measurement that has been saved up by skipping.
    """

    share: float | None
    trained: float = 0.0
    steps: int = 0
    measured: float = 0.0
    cost: float | None = None
    credit: float = 0.0

    def having_trained(self, *, seconds: float, steps: int) -> "Allowance":
        """After `steps` more steps of training."""
        return replace(self, trained=self.trained + seconds, steps=self.steps + steps)

    def having_measured(self, seconds: float, *, is_preparation: bool = False) -> "Allowance":
        """After one more measurement, or what had to be done before the first."""
        cost = self.cost if is_preparation else seconds
        return replace(self, measured=self.measured + seconds, cost=cost)

    def asked(self, *, total: int, waiting: int) -> tuple["Allowance", bool]:
        """Whether a scheduled measurement may be done.

        Args:
            total: Steps of the whole training.
            waiting: Scheduled measurements that are not done, this one among them.

        Returns:
            The allowance after the question, and the answer.
        """
        if self.share is None or self.cost is None or self.steps == 0:
            return self, True
        affordable = (self.share * self.whole(total) - self.measured) / max(self.cost, 1e-9)
        if affordable >= waiting:
            return replace(self, credit=0.0), True
        if affordable < 1 or waiting == 1:
            return self, affordable >= 1
        # One is kept for the last step.
        credit = self.credit + (int(affordable) - 1) / (waiting - 1)
        # Thirds add up to a little less than 1.
        done = credit >= 1 - 1e-9
        return replace(self, credit=credit - done), done

    def whole(self, total: int) -> float:
        """Seconds of training that `total` steps will take, at the pace so far."""
        return self.trained / max(self.steps, 1) * total
