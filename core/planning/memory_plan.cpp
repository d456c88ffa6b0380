#include "core/planning/memory_plan.hpp"

#include <algorithm>
#include <bit>

#include "core/ops/bf16_products.hpp"
#include "core/ops/ops.hpp"
#include "core/summing/tree_levels.hpp"

namespace lora_dist {
namespace {

// The share of the freed activations that later requests can use, as seen in runs of
// bench/plan_memory.py: small blocks stay in between.
constexpr double kUsableHoles = 0.9;
/// One micro-batch, in bytes.
class MicroBatch {
 public:
  explicit MicroBatch(const MemoryRequest& request) : request_(request), model_(request.model) {}

  /// All that is held at the peak of forward and backward.
  int64_t peak() const {
    int64_t kept = 0, inside = model_.head.backward_bytes;
    for (size_t block = 0; block < model_.blocks.size(); ++block) {
      const LayerCost& cost = model_.blocks[block];
      inside = std::max(inside, cost.forward_bytes);
      if (static_cast<int64_t>(block) < request_.lowest_adapted_block) continue;
      kept += request_.recompute_blocks ? model_.hidden_bytes : cost.kept_bytes;
      // A rebuilt block holds all that it keeps, beside the inputs of the others.
      inside =
          std::max(inside, cost.backward_bytes + (request_.recompute_blocks ? cost.kept_bytes : 0));
    }
    const int64_t all = kept + model_.hidden_bytes + model_.head_buffer_bytes + inside;
    return request_.records_blocks ? all + beside_recorded_blocks() : all;
  }

  /// What the heap has free between two steps.
  int64_t freed_behind_a_step() const {
    return static_cast<int64_t>(kUsableHoles *
                                static_cast<double>(peak() - model_.head_buffer_bytes));
  }

 private:
  // Memory that recorded blocks leave to nobody else. The head, or the blocks of an evaluation,
  // take theirs beside it, and so do the hidden states that pass between the two.
  int64_t beside_recorded_blocks() const {
    int64_t forward = 0;
    for (const LayerCost& cost : model_.blocks) forward = std::max(forward, cost.forward_bytes);
    const int64_t d = model_.hidden_bytes;
    return std::max(model_.head.backward_bytes, forward + 2 * d) + 2 * d;
  }

  const MemoryRequest& request_;
  const ModelProfile& model_;
};

bool is_converted(const MemoryRequest& request, const WeightInfo& weight) {
  const at::ScalarType multiplied = request.shape.product_bytes == 2 ? at::kBFloat16 : at::kFloat;
  return weight.format->plain != multiplied;
}

/// Bytes of the largest piece of a weight of which a piece has at most `most_elements(columns)`;
/// 0 where none `counts`.
template <class Counts, class MostElements>
int64_t largest_piece(const MemoryRequest& request, const Counts& counts,
                      const MostElements& most_elements) {
  int64_t largest = 0;
  for (const WeightInfo& weight : request.base) {
    if (weight.shape.size() != 2 || !request.table.find(weight.name) || !counts(weight)) continue;
    const int64_t columns = weight.shape[1];
    largest = std::max(largest, std::min(weight.shape[0] * columns, most_elements(columns)));
  }
  return largest * request.shape.product_bytes;
}

/// What MKL keeps for fp32 products beyond those of a rehearsal, as seen in runs of
/// bench/plan_memory.py: rows of x, packed some columns deep.
int64_t library_buffers(const MemoryRequest& request) {
  constexpr int64_t kMostRows = 2048, kBytesPerRow = 4096;
  return std::min(request.shape.rows(), kMostRows) * kBytesPerRow;
}

/// What products take beside the program: pieces of weights that are converted, and packed for bf16
/// products on a CPU, which do without the library's buffers.
int64_t beside_products(const MemoryRequest& request) {
  const auto converted = [&](const WeightInfo& weight) { return is_converted(request, weight); };
  if (request.shape.on_gpu || request.shape.product_bytes != 2) {
    const int64_t buffers = request.shape.on_gpu ? 0 : library_buffers(request);
    return buffers + largest_piece(request, converted, [](int64_t columns) {
             return ops::most_piece_rows(columns) * columns;
           });
  }
  const int64_t packed = ops::bf16::most_shared(request.shape.rows());
  const auto any = [](const WeightInfo&) { return true; };
  return largest_piece(request, any, [&](int64_t) { return packed; }) +
         largest_piece(request, converted, [](int64_t) { return ops::bf16::kMostPacked; });
}

/// Gradient elements that travel at once. With two levels of hosts the reducer has five buckets
/// under way: one in each of its four stages and the one that is being filled. A block larger than
/// a bucket completes as many buckets at once as it is long.
int64_t elements_under_way(const MemoryRequest& request) {
  const int64_t num_blocks =
      static_cast<int64_t>(request.model.blocks.size()) - request.lowest_adapted_block;
  const int64_t of_block = request.trainable_parameters / std::max<int64_t>(1, num_blocks);
  return std::min(request.trainable_parameters, 5 * std::max(kBucketElements, of_block));
}

/// Copies that are made for files. The best adapter so far is kept all the time; a checkpoint or an
/// export is put together where the activations of a step were, and takes what does not fit there.
int64_t copies_on_the_host(const MemoryRequest& request, const MicroBatch& micro_batch) {
  const int64_t p = request.trainable_parameters;
  const int64_t written = (request.saves_checkpoints ? 4 + request.moment_bytes : 4) * p;
  return (request.keeps_best ? 4 * p : 0) +
         std::max<int64_t>(0, written - micro_batch.freed_behind_a_step());
}

}  // namespace

MemoryPlan plan_memory(const MemoryRequest& request) {
  const int64_t p = request.trainable_parameters;
  // Partial sums of the tree over the slots of this rank, the last slot's own gradient among them.
  const int64_t num_sums = std::bit_width(static_cast<uint64_t>(request.slots_of_rank));
  const MicroBatch micro_batch(request);
  MemoryPlan plan;
  plan.weights = request.base_file_bytes;
  plan.adapter = 4 * p * (1 + num_sums);
  plan.adapter += request.shape.compute_bytes * p;  // what products read
  if (request.world_size > 1) plan.adapter += 4 * (p + elements_under_way(request));
  if (!request.shape.on_gpu) plan.adapter += copies_on_the_host(request, micro_batch);
  plan.optimizer = request.moment_bytes * p;
  plan.activations = micro_batch.peak();
  plan.other = request.program_bytes + beside_products(request);
  return plan;
}

}  // namespace lora_dist
