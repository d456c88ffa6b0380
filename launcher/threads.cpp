#include "launcher/threads.hpp"

#include <algorithm>
#include <charconv>

#include "core/base/error.hpp"
#include "launcher/environments/environment.hpp"

namespace lora_dist {
namespace {

constexpr int kMostThreads = 1024;

}  // namespace

int choose_threads(const WorldInfo& world, const std::string& threads_per_rank) {
  if (threads_per_rank == "auto")
    return std::min(share_of_cores(world), threads_of_user(world).value_or(kMostThreads));
  int threads = 0;
  const char* end = threads_per_rank.data() + threads_per_rank.size();
  const auto [stopped, error] = std::from_chars(threads_per_rank.data(), end, threads);
  if (error == std::errc() && stopped == end && threads >= 1 && threads <= kMostThreads)
    return threads;
  throw ConfigError({.where = "threads_per_rank",
                     .found = fmt::format("'{}'", threads_per_rank),
                     .expected = fmt::format("auto or 1 to {}", kMostThreads),
                     .fix = {}});
}

bool user_bounds_threads(const WorldInfo& world, const std::string& threads_per_rank) {
  return threads_per_rank == "auto" &&
         threads_of_user(world).value_or(kMostThreads) < share_of_cores(world);
}

}  // namespace lora_dist
