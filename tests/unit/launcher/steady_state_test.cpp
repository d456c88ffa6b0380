// What a run asks of the system once its shapes have been seen.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "core/adapters/adapter.hpp"
#include "core/tasks/text_batch.hpp"
#include "core/tasks/text_generation.hpp"
#include "core/training/trainer.hpp"
#include "dist/reducers/reducer.hpp"
#include "launcher/run/memory.hpp"
#include "tests/support/one_rank_world.hpp"
#include "tests/support/paper_weights.hpp"
#include "tests/support/vector_stream.hpp"

namespace lora_dist {
namespace {

/// Pages that the kernel had to give to this process, as counted after each step.
class PageFaults final : public RunObserver {
 public:
  void on_step(const StepMetrics&) override {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    counts.push_back(usage.ru_minflt);
  }
  std::vector<int64_t> counts;
};

TEST(SteadyState, AsksTheSystemForNoMemory) {
  keep_freed_memory();
  const DecoderSpec spec = paper_llama({2, 256, 704, 8, 4, 2000});
  PaperWeights files(spec);
  Decoder decoder(spec, files, {});
  const auto adapter =
      make_adapter({.groups = decoder.linear_groups(),
                    .config = {.lora_dropout = 0.1},
                    .targets = modules_of_every_block(spec, {"q_proj", "v_proj"})});
  adapter->initialize(1);
  adapter->attach(1);
  const auto optimizer =
      optimizers().at("adamw")({.params = adapter->params().flat(), .config = {}});
  OneRankWorld world;
  const auto reducer =
      reducers().at("tree")({.world = world, .num_elements = adapter->params().num_elements()});
  const auto task = make_text_generation_task(decoder);
  const at::Tensor tokens = at::arange(4 * 128, at::kLong).view({4, 128});
  const Batch batch = to_batch({.tokens_BT = tokens, .labels_BT = tokens + 1},
                               /*loss_terms=*/512, /*cost=*/512);
  VectorStream stream({batch, batch}, /*num_steps=*/8);
  PageFaults faults;
  Trainer trainer({.world = world,
                   .task = *task,
                   .adapter = *adapter,
                   .stream = stream,
                   .reducer = *reducer,
                   .optimizer = *optimizer,
                   .schedule = [](int64_t, const std::vector<double>&) { return 1e-4; },
                   .observers = {&faults}},
                  {.save_steps = 0});
  trainer.run();
  // A step's activations are some thousand pages; a few faults have other causes.
  EXPECT_LT(faults.counts.back() - faults.counts[2], 100) << "pages in five steps";
}

}  // namespace
}  // namespace lora_dist
