#include "core/exit/scalars.h"

#include <iterator>

namespace plumb {
namespace {

constexpr Comparator kLess = Comparator::kLess;
constexpr Comparator kAtLeast = Comparator::kGreaterEqual;
constexpr Inputs kState = Inputs::kState;
constexpr Inputs kLogits = Inputs::kLogits;
constexpr Inputs kHindsight = Inputs::kLogits | Inputs::kHindsight;
constexpr double kNoDefault = kUnmeasured;

double integer(int value) { return value < 0 ? kUnmeasured : value; }

// Defaults of the first six: the public reference's automatic thresholds at its current head.
// step-norm, deq: 1e-3, the usual tolerance of fixed-point solvers; top1, margin 0.9 and gate
// 1 - 0.01 as in CALM and ACT. saturation mirrors cosine.
constexpr Scalar kScalars[] = {
    {"entropy-diff", "|H(p_k) - H(p_last)|, nats; 100 before the first check", kLess, 1e-3, kLogits,
     Memory::kRebuilt, [](const StepRow& row) { return row.prev.entropy_diff; }},
    {"latent-diff", "|s_k - s_last| / |s_k|", kLess, 0.03, kState, Memory::kRecorded,
     [](const StepRow& row) { return row.prev.latent_diff; }},
    {"kl", "KL(p_last || p_k), nats; uniform before the first check", kLess, 1e-3, kLogits,
     Memory::kRecorded, [](const StepRow& row) { return row.prev.kl; }},
    {"minp-kl", "kl after probabilities below 0.1 of the largest are set to 1/V", kLess, 1e-5,
     kLogits, Memory::kRecorded, [](const StepRow& row) { return row.prev.minp_kl; }},
    {"argmax-stability", "consecutive checks whose argmax equals the one before", kAtLeast, 5,
     kLogits, Memory::kRebuilt, [](const StepRow& row) { return integer(row.argmax_run); }},
    {"cosine", "1 - cos(s_k, s_last)", kLess, 1e-3, kState, Memory::kRecorded,
     [](const StepRow& row) { return 1 - row.prev.cos; }},
    {"step-norm", "|D_k|, D_k = s_k - s_last", kLess, 1e-3, kState, Memory::kRecorded,
     [](const StepRow& row) { return row.prev.delta_norm; }},
    {"accel", "|D_k - D_last|; use patience=2 for the two-hit rule", kLess, 1e-3, kState,
     Memory::kRecorded, [](const StepRow& row) { return row.prev.accel_norm; }},
    {"accel-rel", "|D_k - D_last| / |s_k|", kLess, 0.03, kState, Memory::kRecorded,
     [](const StepRow& row) { return row.prev.accel_rel; }},
    {"contraction", "forecast of the way left over |s_k|: |D_k| r/(1-r), r = |D_k|/|D_last|", kLess,
     0.02, kState, Memory::kRecorded, [](const StepRow& row) { return row.prev.contraction; }},
    {"saturation", "cos(s_k, s_last)", kAtLeast, 0.999, kState, Memory::kRecorded,
     [](const StepRow& row) { return row.prev.cos; }},
    {"deq-abs", "fixed-point residual |f(z) - z| with z = s_last, f(z) = s_k", kLess, 1e-3, kState,
     Memory::kRecorded, [](const StepRow& row) { return row.prev.delta_norm; }},
    {"deq-rel", "fixed-point residual over |f(z)|", kLess, 1e-3, kState, Memory::kRecorded,
     [](const StepRow& row) { return row.prev.deq_rel; }},
    {"entropy", "H(p_k), nats", kLess, kNoDefault, kLogits, Memory::kNone,
     [](const StepRow& row) { return row.entropy; }},
    {"top1", "largest probability", kAtLeast, 0.9, kLogits, Memory::kNone,
     [](const StepRow& row) { return row.p1; }},
    {"margin", "largest probability minus the second", kAtLeast, 0.9, kLogits, Memory::kNone,
     [](const StepRow& row) { return row.p1 - row.p2; }},
    {"gate", "the model's own cumulative halting probability", kAtLeast, 0.99, Inputs::kGate,
     Memory::kNone, [](const StepRow& row) { return row.gate; }},
    {"fixed", "steps run", kAtLeast, kNoDefault, Inputs::kNone, Memory::kNone,
     [](const StepRow& row) { return static_cast<double>(row.step); }},
    {"oracle-ce", "cross-entropy above this token's best depth, nats (analysis only)",
     Comparator::kLessEqual, 0, kHindsight, Memory::kNone,
     [](const StepRow& row) { return row.ce_regret; }},
    {"oracle-safe", "1 once the argmax stays what it is at full depth (analysis only)", kAtLeast, 1,
     kHindsight, Memory::kNone, [](const StepRow& row) { return row.settled; }},
    {"nll", "-ln p(next token), nats (analysis only)", kLess, kNoDefault, kHindsight, Memory::kNone,
     [](const StepRow& row) { return row.nll; }},
    {"rank", "rank of the next token, from 1 (analysis only)", Comparator::kLessEqual, 1,
     kHindsight, Memory::kNone, [](const StepRow& row) { return integer(row.target_rank); }},
    {"kl-final", "KL(p_R || p_k), nats (analysis only)", kLess, 1e-3, kHindsight, Memory::kNone,
     [](const StepRow& row) { return row.kl_final; }},
};

}  // namespace

std::string_view comparator_text(Comparator comparator) {
  constexpr std::string_view kText[] = {"<", "<=", ">", ">=", "="};
  return kText[static_cast<size_t>(comparator)];
}

bool compare(double value, Comparator comparator, double threshold) {
  switch (comparator) {
    case Comparator::kLess:
      return value < threshold;
    case Comparator::kLessEqual:
      return value <= threshold;
    case Comparator::kGreater:
      return value > threshold;
    case Comparator::kGreaterEqual:
      return value >= threshold;
    case Comparator::kEqual:
      return value == threshold;
  }
  return false;
}

std::span<const Scalar> all_scalars() { return kScalars; }

const Scalar* find_scalar(std::string_view name) {
  for (const Scalar& scalar : kScalars) {
    if (scalar.name == name) return &scalar;
  }
  return nullptr;
}

std::string scalar_names() {
  std::string names;
  for (const Scalar& scalar : kScalars) {
    if (!names.empty()) names += ", ";
    names += scalar.name;
  }
  return names;
}

}  // namespace plumb
