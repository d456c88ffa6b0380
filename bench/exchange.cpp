// What an exchange between the ranks of a host costs, beside what the memory traffic alone costs.
//
//   mpirun -n 2 build/release/bench/exchange [megabytes] [rounds]
//
// Every round times each way once, one after the other, so that a busy machine slows all of them;
// the slowest rank counts, and the median and the best of the rounds are printed as ratios to the
// sum that each rank would have to make anyway: a = a + b over private memory, on all ranks at
// once.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <ATen/Parallel.h>

#include "core/base/error.hpp"
#include "dist/backends/backend.hpp"
#include "dist/backends/mpi_session.hpp"
#include "dist/reducers/reducer.hpp"
#include "launcher/environments/environment.hpp"

namespace lora_dist {
namespace {

struct Way {
  std::string name;
  std::function<void()> prepare;  // not timed
  std::function<void()> run;
  std::vector<double> times_ms = {};
};

double elapsed_ms(const std::function<void()>& run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

/// Times of the slowest rank.
void time_in_turns(Communicator& control, std::vector<Way>& ways, int num_rounds) {
  for (int round = -2; round < num_rounds; ++round) {  // the first two fill buffers
    for (Way& way : ways) {
      if (way.prepare) way.prepare();
      control.barrier();
      const double own_ms = elapsed_ms(way.run);
      at::Tensor all_ms = at::empty({control.world_size(), 1}, at::kDouble);
      control.all_gather(all_ms, at::full({1}, own_ms, at::kDouble)).wait();
      if (round >= 0) way.times_ms.push_back(all_ms.max().item<double>());
    }
  }
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

double best(const std::vector<double>& values) {
  return *std::min_element(values.begin(), values.end());
}

void print(const std::vector<Way>& ways, size_t base) {
  std::printf("%-44s %9s %9s %9s %9s\n", "", "median ms", "best ms", "ratio", "more ms");
  for (const Way& way : ways)
    std::printf("%-44s %9.2f %9.2f %8.2fx %9.2f\n", way.name.c_str(), median(way.times_ms),
                best(way.times_ms), median(way.times_ms) / median(ways[base].times_ms),
                median(way.times_ms) - median(ways[base].times_ms));
}

std::unique_ptr<Communicator> connect(const WorldInfo& world, const std::string& backend,
                                      bool shared_memory) {
  BackendOptions options;
  options.world = world;
  options.timeout_s = options.startup_timeout_s = 60;
  options.shared_memory = shared_memory;
  return backends().at(backend)(options);
}

/// One step of a reducer whose slots are there already: what the trainer waits for.
Way reducer_way(std::string_view name, Communicator& world, int64_t num_elements) {
  constexpr int64_t kSlotsOfARank = 4;
  const auto reducer = std::shared_ptr<GradientReducer>(
      reducers().at(name)({.world = world, .num_elements = num_elements}));
  const int64_t num_slots = kSlotsOfARank * world.world_size();
  const SlotRange range = deal_slots(num_slots, world.rank(), world.world_size());
  return {.name = fmt::format("reducer {}, {}", name, world.backend()),
          .prepare =
              [=] {
                reducer->begin_step(num_slots);
                for (int64_t slot = range.first; slot < range.end; ++slot)
                  reducer->add(slot, at::full({num_elements}, slot, at::kFloat));
              },
          .run = [=] { reducer->finalize(); }};
}

void run(const WorldInfo& world, int64_t num_bytes, int num_rounds) {
  const int64_t num_elements = num_bytes / 4;
  std::vector<std::unique_ptr<Communicator>> worlds;
  for (const char* backend : {"mpi", "gloo"})
    for (const bool shared_memory : {false, true})
      worlds.push_back(connect(world, backend, shared_memory));
  Communicator& control = *worlds[1];

  at::Tensor own = at::ones({num_elements}, at::kFloat);
  at::Tensor other = at::ones({num_elements}, at::kFloat);
  std::vector<Way> ways = {
      {.name = "copy of the tensor",
       .prepare = {},
       .run = [&] { std::memcpy(other.data_ptr(), own.data_ptr(), num_bytes); }},
      {.name = "sum of two tensors", .prepare = {}, .run = [&] { own.add_(other); }}};
  for (const auto& each : worlds)
    ways.push_back({.name = fmt::format("all_reduce, {}", each->backend()),
                    .prepare = [&] { own.fill_(1); },
                    .run = [&] { each->all_reduce(own).wait(); }});
  for (const auto& each : worlds)
    for (const std::string_view name : reducers().names())
      ways.push_back(reducer_way(name, *each, num_elements));
  time_in_turns(control, ways, num_rounds);
  if (world.rank != 0) return;
  std::printf("%d ranks x 1 thread, %.1f MB fp32, %d rounds; ratio and more: to the sum\n",
              world.world_size, static_cast<double>(num_bytes) / 1e6, num_rounds);
  print(ways, /*base=*/1);
}

}  // namespace
}  // namespace lora_dist

int main(int argc, char** argv) {
  using namespace lora_dist;
  const double megabytes = argc > 1 ? std::atof(argv[1]) : 42;
  const int num_rounds = argc > 2 ? std::atoi(argv[2]) : 15;
  const WorldInfo world = detect_world();
  if (world.launcher != "mpirun" || megabytes <= 0 || num_rounds <= 0) {
    std::fprintf(stderr, "usage: mpirun -n 2 exchange [megabytes] [rounds]\n");
    return 2;
  }
  at::set_num_threads(1);
  const std::shared_ptr<MpiSession> session = MpiSession::join(world);
  run(world, static_cast<int64_t>(megabytes * 1e6) / 4 * 4, num_rounds);
}
