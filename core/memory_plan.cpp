#include "core/memory_plan.hpp"

#include <algorithm>
#include <bit>

#include "core/models/decoder.hpp"
#include "core/ops/bf16_products.hpp"
#include "core/ops/flash_attention.hpp"
#include "core/ops/ops.hpp"
#include "core/tree_levels.hpp"

namespace lora_dist {
namespace {

// Of the freed activations, as seen in runs of bench/plan_memory.py: small blocks stay in between.
constexpr double kUsableHoles = 0.9;
// Of a GPU. FlashAttention's backward has as many partial sums as fill them: 132 on H100 and H200.
constexpr int64_t kMultiprocessors = 132;

/// Sizes of one micro-batch, in bytes.
class MicroBatch {
 public:
  explicit MicroBatch(const MemoryRequest& request)
      : request_(request),
        spec_(request.spec),
        rows_(request.batch_size * request.tokens),
        d_(activation(spec_.hidden_size)),
        q_(activation(spec_.query_width())),
        kv_(activation(spec_.kv_width())),
        f_(activation(spec_.intermediate_size)) {}

  /// At the peak of forward and backward.
  int64_t peak() const {
    const int64_t num_kept = spec_.num_layers - request_.lowest_adapted_layer;
    const int64_t kept = request_.recompute_blocks ? num_kept * d_ : num_kept * kept_by_block();
    // A block that is rebuilt has all of its own beside the others' inputs.
    const int64_t block = block_backward() + (request_.recompute_blocks ? kept_by_block() : 0);
    const int64_t all = kept + d_ + chunk_bytes() + std::max({block, block_forward(), head()});
    return request_.records_blocks ? all + beside_recorded_blocks() : all;
  }

  /// What the heap has free between two steps.
  int64_t freed_behind_a_step() const {
    return static_cast<int64_t>(kUsableHoles * static_cast<double>(peak() - chunk_bytes()));
  }

 private:
  int64_t activation(int64_t width) const { return rows_ * width * request_.compute_bytes; }
  /// Of the layers that read one input and whose ranks are `ranks` together: x A^T and its
  /// gradient, and three of one layer's, for a product, a scaled and a transposed copy. Dropouts
  /// make each layer's input its own.
  int64_t low_rank(int64_t ranks) const {
    const int64_t one = std::min(ranks, request_.ranks.largest);
    return activation(2 * (request_.drops_inputs ? one : ranks) + 3 * one);
  }
  /// x and y of a product in the number format that is multiplied, where it is another one.
  int64_t converted(int64_t bytes) const {
    if (request_.product_bytes == request_.compute_bytes) return 0;
    return bytes * request_.product_bytes / request_.compute_bytes;
  }

  // BlockActivations of core/models/decoder_block.hpp; the input is the output of the block before.
  int64_t kept_by_block() const {
    int64_t bytes = 2 * d_ + 2 * q_ + 2 * kv_ + 2 * f_ + 4 * rows_ * spec_.num_heads;
    if (spec_.query_key_norm) bytes += q_ + kv_;
    if (spec_.sandwich_norms) bytes += 2 * d_;
    return bytes;
  }

  /// What a dropout takes beside an adapter's input: a bit for each element where products read
  /// through them, else a copy.
  int64_t dropped(int64_t input) const {
    if (!request_.drops_inputs) return 0;
    const bool is_inside = !request_.on_gpu && request_.product_bytes == request_.compute_bytes;
    return is_inside ? input / (8 * request_.compute_bytes) : input;
  }

  // The gated product and what follows from it.
  int64_t block_forward() const {
    return f_ + d_ + dropped(f_) + activation(request_.ranks.down) + converted(f_ + d_);
  }

  // down_proj's input made again, its gradient, then the gradients of gate and up in their place.
  int64_t block_backward() const {
    const RanksOfGroups& ranks = request_.ranks;
    const int64_t down = 2 * f_ + dropped(f_) + converted(f_ + d_) + low_rank(ranks.down);
    const int64_t gate_up = f_ + 2 * d_ + dropped(d_) + low_rank(ranks.gate_up);
    const int64_t qkv = 2 * d_ + dropped(d_) + low_rank(ranks.qkv);
    const int64_t attention = 2 * q_ + 2 * kv_ + std::max(qkv, flash_backward());
    return d_ + std::max({down, gate_up, attention});
  }

  // What FlashAttention takes on a GPU beside its results: sums over the queries of a row of 128
  // tokens and a head of 32 or 64 features each, with fixed order several of them; and the keys'
  // gradients of each head where heads share keys. Samples of packed rows are rounded up one by
  // one.
  int64_t flash_backward() const {
    const int64_t head = spec_.head_dim;
    if (!request_.on_gpu || request_.compute_bytes != 2 ||
        !ops::flash::can_run(at::kBFloat16, head, spec_.attention_softcap, /*capability=*/80))
      return 0;
    const auto rounded = [](int64_t count, int64_t to) { return (count + to - 1) / to * to; };
    const int64_t heads = request_.batch_size * spec_.num_heads;
    const int64_t num_sums = request_.deterministic ? (kMultiprocessors + heads - 1) / heads : 1;
    const int64_t sums = heads * rounded(request_.tokens, 128) *
                         (num_sums * rounded(head, head <= 128 ? 32 : 64) + 1) * 4;
    return sums + (spec_.num_kv_heads < spec_.num_heads ? 2 * q_ : 0);
  }

  // The recorded blocks' memory is nobody else's: the head, or the blocks of an evaluation, have
  // theirs beside it; and the hidden states between the two.
  int64_t beside_recorded_blocks() const {
    return std::max(head(), block_forward() + 2 * d_) + 2 * d_;
  }

  // The chunk of logits is kept by the decoder.
  int64_t chunk_bytes() const {
    const int64_t row = spec_.vocab_size * request_.compute_bytes;
    return logit_chunk_rows(rows_, row) * row;
  }

  // The gradient of the hidden states; the chunk once more where it is multiplied otherwise.
  int64_t head() const { return d_ + converted(chunk_bytes()); }

  const MemoryRequest& request_;
  const DecoderSpec& spec_;
  const int64_t rows_;
  const int64_t d_, q_, kv_, f_;
};

/// Bytes of the largest piece of a weight of which a piece has at most `most_elements(columns)`.
template <class MostElements>
int64_t largest_piece(const MemoryRequest& request, const MostElements& most_elements) {
  int64_t largest = 0;
  for (const WeightRow& row : weight_rows(request.spec)) {
    if (row.shape.size() != 2) continue;
    largest = std::max(largest, std::min(row.shape[0] * row.shape[1], most_elements(row.shape[1])));
  }
  return largest * request.product_bytes;
}

/// What MKL keeps for fp32 products beyond those of a rehearsal, as seen in runs of
/// bench/plan_memory.py: rows of x, packed some columns deep.
int64_t library_buffers(const MemoryRequest& request) {
  constexpr int64_t kMostRows = 2048, kBytesPerRow = 4096;
  return std::min(request.batch_size * request.tokens, kMostRows) * kBytesPerRow;
}

/// What products take beside the program: pieces of weights that are converted, and packed for bf16
/// products on a CPU, which do without the library's buffers.
int64_t beside_products(const MemoryRequest& request) {
  const bool converts = request.stored_bytes != request.product_bytes;
  if (request.on_gpu || request.product_bytes != 2) {
    const int64_t buffers = request.on_gpu ? 0 : library_buffers(request);
    if (!converts) return buffers;
    return buffers + largest_piece(request, [](int64_t columns) {
             return ops::most_piece_rows(columns) * columns;
           });
  }
  const int64_t packed = ops::bf16::most_shared(request.batch_size * request.tokens);
  return largest_piece(request, [&](int64_t) { return packed; }) +
         (converts ? largest_piece(request, [](int64_t) { return ops::bf16::kMostPacked; }) : 0);
}

/// Of the reducer's buckets: five with two levels of hosts, for four stages and the bucket that
/// comes. A block that is larger than a bucket completes as many as it has at once.
int64_t elements_under_way(const MemoryRequest& request) {
  const int64_t num_blocks = request.spec.num_layers - request.lowest_adapted_layer;
  const int64_t of_block = request.trainable_parameters / std::max<int64_t>(1, num_blocks);
  return std::min(request.trainable_parameters, 5 * std::max(kBucketElements, of_block));
}

/// The best adapter so far; and of what is written to files, a checkpoint or the export, as much as
/// finds no place where a step's activations were.
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
  plan.adapter += request.compute_bytes * p;  // what products read
  if (request.world_size > 1) plan.adapter += 4 * (p + elements_under_way(request));
  if (!request.on_gpu) plan.adapter += copies_on_the_host(request, micro_batch);
  plan.optimizer = request.moment_bytes * p;
  plan.activations = micro_batch.peak();
  plan.other = request.program_bytes + beside_products(request);
  return plan;
}

}  // namespace lora_dist
