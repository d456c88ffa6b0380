// How idle threads wait: a moment awake, then asleep.
//
// libgomp's threads spin without end at each barrier. On a machine that does anything else beside,
// the quickstart with two threads ran at 83 tokens/s so, and at 1,813 with sleeping ones; where
// nothing else runs, threads that sleep at once cost a tenth of a step.
#pragma once

namespace lora_dist {

/// What is set where the user has set neither variable: a few tenths of a millisecond, longer than
/// from one product to the next.
inline constexpr char kSpinSetting[] = "GOMP_SPINCOUNT=20000";

/// Starts this program again with a short GOMP_SPINCOUNT, once; returns where the user has set a
/// policy of their own (OMP_WAIT_POLICY or GOMP_SPINCOUNT) or it is set already. To be run before
/// the constructors of the libraries: libgomp's reads the variable, LibTorch's take a quarter of a
/// second. Hence it calls nothing but the system.
void limit_spinning(int argc, char** argv, char** environment);

}  // namespace lora_dist
