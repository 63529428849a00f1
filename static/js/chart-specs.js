/* What each chart draws. One entry per chart: `x` names its steps; `low` and `high` are the metrics of a 95 % interval;
   `level` draws a horizontal line, `floor` is always in sight; a line `aside` is not drawn again for runs beside. */
(() => {
  "use strict";
  const round = (...series) => ({ x: "Round", series });
  const step = (...series) => ({ x: "Step", series });
  const one = (metric, label, tone = "second") => ({ metric, label, tone });

  const SPECS = {
    reward: round(
      { metric: "baseline_mean", label: "Frozen baseline", tone: "baseline", dash: true, aside: true, low: "baseline_low", high: "baseline_high" },
      { metric: "reward_mean", label: "Learning", tone: "learning", low: "reward_low", high: "reward_high" },
    ),
    lift: { ...round({ metric: "lift", label: "Learning − baseline", tone: "learning", low: "lift_low", high: "lift_high" }), level: 0 },
    reward_sd: { ...round(one("reward_sd", "Standard deviation")), floor: 0 },
    kl: { ...round(one("kl", "KL, nats per post")), floor: 0 },
    entropy: round(one("entropy", "Nats per token")),
    clip_share: { ...round(one("clip_share", "Share of tokens")), floor: 0 },
    distinct_2: round({ metric: "reference_distinct_2", label: "Untrained", tone: "baseline", dash: true, aside: true }, one("distinct_2", "Distinct-2")),
    memorised: { ...round(one("memorised_rate", "Share of posts")), floor: 0 },
    policy_loss: round(one("loss", "Loss of the policy")),
    value_loss: round(one("value_loss", "Loss of the critic")),
    foresight: { ...round(one("reward_model_correlation", "Rank correlation")), level: 0 },
    round_seconds: { ...round(one("round_seconds", "Seconds")), floor: 0 },
    loss: step(
      { metric: "loss", label: "Training", tone: "baseline", thin: true },
      { metric: "heldout_loss", label: "Held-out", tone: "learning", dots: true },
      { metric: "heldout_author_loss", label: "Unknown authors", tone: "human", dash: true, dots: true, optional: true },
    ),
    memorised_samples: { ...step({ ...one("memorised_rate", "Share of samples"), dots: true }), floor: 0 },
    speed: { ...step({ ...one("tokens_per_second", "Tokens per second"), thin: true }), floor: 0 },
    gradient_norm: { ...step({ ...one("gradient_norm", "Norm"), thin: true }), floor: 0 },
    learning_rate: { ...step(one("learning_rate", "Learning rate")), floor: 0 },
  };

  /* Lines of runs beside: colour and dash say which; the pinned one is grey and dashed. */
  const BESIDE = [
    { tone: "human", dash: [2, 3] },
    { tone: "info", dash: [9, 3] },
    { tone: "caution", dash: [9, 3, 2, 3] },
    { tone: "danger", dash: [3, 6] },
    { tone: "good", dash: [14, 4] },
  ];
  const PINNED = { tone: "baseline", dash: [6, 5] };

  const number = (value) => {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    const text = size > 0 && size < 0.001 ? value.toExponential(1) : value.toFixed(size >= 100 ? 0 : size < 0.1 ? 3 : 2);
    return text.replaceAll("-", "−");
  };

  const metricsOf = (spec) => spec.series.flatMap((line) => (line.low ? [line.metric, line.low, line.high] : [line.metric]));

  window.KilroyCharts = { SPECS, BESIDE, PINNED, number, metricsOf };
})();
