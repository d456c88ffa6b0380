// How many CPU threads a rank may use.
//
// `auto` shares the cores that this process may use among the ranks of its host, so ranks never
// compete: libgomp's barriers spin, and one busy neighbour makes two threads slower than one. Under
// srun with --cpus-per-task each rank has its own cores, and uses them all. The user's
// OMP_NUM_THREADS is an upper bound of that. A number in the config overrides; if ranks x threads
// then exceed the cores, set OMP_WAIT_POLICY=passive, which libgomp reads before main and --ranks
// sets when there are more ranks than cores.
#pragma once

#include <string>

#include "core/ranks/world.hpp"

namespace lora_dist {

/// `threads_per_rank` is the config's: "auto" or a number. At least 1.
/// Errors  ConfigError: neither.
int choose_threads(const WorldInfo& world, const std::string& threads_per_rank);
/// Whether there are fewer of them than cores because OMP_NUM_THREADS says so.
bool user_bounds_threads(const WorldInfo& world, const std::string& threads_per_rank);

}  // namespace lora_dist
