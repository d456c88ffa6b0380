// How idle threads wait: asleep, not spinning.
//
// libgomp's threads spin at each barrier. On a machine that does anything else beside, the
// quickstart with two threads ran at 83 tokens/s so, and at 1,813 with sleeping ones. libgomp reads
// the policy before main, so the program starts anew.
#pragma once

namespace lora_dist {

/// Starts this program again with OMP_WAIT_POLICY=passive, once; returns where the user has set a
/// policy of their own (OMP_WAIT_POLICY or GOMP_SPINCOUNT) or it is set already. Called first in
/// main.
void wait_without_spinning(char** argv);

}  // namespace lora_dist
