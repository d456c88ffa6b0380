#include "dist/backends/rounds.hpp"

#include <algorithm>
#include <cstring>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

enum CollectiveCode { kBroadcast = 1, kAllReduce, kAllGather, kAllToAll, kBarrier };

int64_t rounds_for(int64_t bytes, int64_t chunk_bytes) {
  return std::max<int64_t>(1, (bytes + chunk_bytes - 1) / chunk_bytes);
}

/// Part `index` of `bytes` bytes cut into parts of `part_bytes`; the last ones may be short or
/// empty.
struct Part {
  Part(int64_t bytes, int64_t part_bytes, int64_t index)
      : first(std::min(bytes, part_bytes * index)), size(std::min(part_bytes, bytes - first)) {}
  int64_t first, size;
};

std::byte* bytes_of(const at::Tensor& tensor) { return static_cast<std::byte*>(tensor.data_ptr()); }

class BroadcastRounds final : public RoundsOperation {
 public:
  BroadcastRounds(const RoundsLayout& layout, at::Tensor tensor, int root)
      : layout_(layout), tensor_(std::move(tensor)), root_(root) {}

  Signature signature() const override { return {kBroadcast, root_, num_bytes()}; }
  int64_t num_rounds() const override { return rounds_for(num_bytes(), layout_.slot_bytes); }
  bool reads_from(int rank) const override { return rank == root_; }
  void deposit(int64_t round, std::byte* own_slot) override {
    if (layout_.rank != root_) return;
    const Part chunk(num_bytes(), layout_.slot_bytes, round);
    std::memcpy(own_slot, bytes_of(tensor_) + chunk.first, chunk.size);
  }
  void collect(int64_t round, const std::vector<const std::byte*>& slots) override {
    if (layout_.rank == root_) return;
    const Part chunk(num_bytes(), layout_.slot_bytes, round);
    std::memcpy(bytes_of(tensor_) + chunk.first, slots[root_], chunk.size);
  }

 private:
  int64_t num_bytes() const { return static_cast<int64_t>(tensor_.nbytes()); }
  const RoundsLayout layout_;
  const at::Tensor tensor_;
  const int root_;
};

// A constant, so that -O2 makes vectors of loops over a block.
constexpr int64_t kBlock = 512;

/// sum[i] = left[i] + right[i]; `sum` may be either of them.
template <class T>
void add_block(T* sum, const T* left, const T* right) {
#pragma GCC ivdep
  for (int64_t i = 0; i < kBlock; ++i) sum[i] = left[i] + right[i];
}

/// sum[i] = rows[0][i] + rows[1][i] + ..., in this order; `sum` may be one of the rows.
template <class T>
void add_in_order(T* sum, const std::vector<const std::byte*>& rows, int64_t count) {
  const auto row = [&rows](size_t r) { return reinterpret_cast<const T*>(rows[r]); };
  int64_t first = 0;
  for (; first + kBlock <= count; first += kBlock) {
    if (rows.size() == 2) {
      add_block(sum + first, row(0) + first, row(1) + first);
      continue;
    }
    T block[kBlock];  // `sum` may be a row that is still to be read
    add_block(block, row(0) + first, row(1) + first);
    for (size_t r = 2; r < rows.size(); ++r) add_block<T>(block, block, row(r) + first);
    std::memcpy(sum + first, block, sizeof block);
  }
  for (int64_t i = first; i < count; ++i) {
    T total = row(0)[i];
    for (size_t r = 1; r < rows.size(); ++r) total += row(r)[i];
    sum[i] = total;
  }
}

// Two rounds for a chunk: rank j adds piece j of everybody's chunk, then all take the sums from
// each other. Two ranks, or a small tensor, take one round: everybody adds everything, which is as
// much traffic for two and one wait less.
class AllReduceRounds final : public RoundsOperation {
 public:
  AllReduceRounds(const RoundsLayout& layout, at::Tensor tensor)
      : layout_(layout),
        tensor_(std::move(tensor)),
        num_bytes_(static_cast<int64_t>(tensor_.nbytes())),
        in_pieces_(layout.world_size > 2 && num_bytes_ > kSmallBytes) {}

  Signature signature() const override {
    return {kAllReduce, static_cast<int32_t>(tensor_.scalar_type()), num_bytes_};
  }
  int64_t num_rounds() const override {
    return in_pieces_ ? 2 * rounds_for(num_bytes_, chunk_bytes())
                      : rounds_for(num_bytes_, layout_.slot_bytes);
  }
  bool reads_from(int) const override { return true; }

  void deposit(int64_t round, std::byte* own_slot) override {
    if (!in_pieces_) {
      const Part chunk(num_bytes_, layout_.slot_bytes, round);
      std::memcpy(own_slot, bytes_of(tensor_) + chunk.first, chunk.size);
    } else if (round % 2 == 0) {
      for (int owner = 0; owner < layout_.world_size; ++owner)
        if (owner != layout_.rank) copy_piece(round / 2, owner, own_slot + lane(owner));
    } else {
      copy_piece(round / 2, layout_.rank, own_slot);
    }
  }

  void collect(int64_t round, const std::vector<const std::byte*>& slots) override {
    if (!in_pieces_) {
      add(Part(num_bytes_, layout_.slot_bytes, round), slots, 0);
    } else if (round % 2 == 0) {
      add(piece(round / 2, layout_.rank), slots, lane(layout_.rank));
    } else {
      for (int owner = 0; owner < layout_.world_size; ++owner) {
        if (owner == layout_.rank) continue;
        const Part sum = piece(round / 2, owner);
        std::memcpy(bytes_of(tensor_) + sum.first, slots[owner], sum.size);
      }
    }
  }

 private:
  static constexpr int64_t kSmallBytes = 16 << 10;

  int64_t chunk_bytes() const { return layout_.lane_bytes() * layout_.world_size; }
  int64_t lane(int owner) const { return layout_.lane_bytes() * owner; }
  Part piece(int64_t chunk, int owner) const {
    return {num_bytes_, layout_.lane_bytes(), chunk * layout_.world_size + owner};
  }
  void copy_piece(int64_t chunk, int owner, std::byte* to) const {
    const Part part = piece(chunk, owner);
    std::memcpy(to, bytes_of(tensor_) + part.first, part.size);
  }

  /// Adds everybody's `part`, which lies `offset` bytes into the slots; ours is in the tensor
  /// still.
  void add(const Part& part, const std::vector<const std::byte*>& slots, int64_t offset) {
    std::byte* sum = bytes_of(tensor_) + part.first;
    rows_.assign(slots.begin(), slots.end());
    for (const std::byte*& row : rows_) row += offset;
    rows_[layout_.rank] = sum;
    const int64_t count = part.size / static_cast<int64_t>(tensor_.element_size());
    if (tensor_.scalar_type() == at::kFloat) {
      add_in_order(reinterpret_cast<float*>(sum), rows_, count);
    } else if (tensor_.scalar_type() == at::kDouble) {
      add_in_order(reinterpret_cast<double*>(sum), rows_, count);
    } else {
      add_in_order(reinterpret_cast<int64_t*>(sum), rows_, count);
    }
  }

  const RoundsLayout layout_;
  const at::Tensor tensor_;
  const int64_t num_bytes_;
  const bool in_pieces_;
  std::vector<const std::byte*> rows_;  // [rank], kept between rounds
};

class AllGatherRounds final : public RoundsOperation {
 public:
  AllGatherRounds(const RoundsLayout& layout, at::Tensor output, at::Tensor input)
      : layout_(layout), output_(std::move(output)), input_(std::move(input)) {}

  Signature signature() const override { return {kAllGather, 0, row_bytes()}; }
  int64_t num_rounds() const override { return rounds_for(row_bytes(), layout_.slot_bytes); }
  bool reads_from(int) const override { return true; }
  void deposit(int64_t round, std::byte* own_slot) override {
    const Part chunk(row_bytes(), layout_.slot_bytes, round);
    std::memcpy(own_slot, bytes_of(input_) + chunk.first, chunk.size);
  }
  void collect(int64_t round, const std::vector<const std::byte*>& slots) override {
    const Part chunk(row_bytes(), layout_.slot_bytes, round);
    for (int from = 0; from < layout_.world_size; ++from) {
      const std::byte* source = from == layout_.rank ? bytes_of(input_) + chunk.first : slots[from];
      std::memcpy(bytes_of(output_) + from * row_bytes() + chunk.first, source, chunk.size);
    }
  }

 private:
  int64_t row_bytes() const { return static_cast<int64_t>(input_.nbytes()); }
  const RoundsLayout layout_;
  const at::Tensor output_, input_;
};

class AllToAllRounds final : public RoundsOperation {
 public:
  AllToAllRounds(const RoundsLayout& layout, at::Tensor output, at::Tensor input,
                 const RowCounts& rows)
      : layout_(layout),
        output_(std::move(output)),
        input_(std::move(input)),
        row_bytes_(input_.size(1)),
        received_(spans_of(rows.output)),
        sent_(spans_of(rows.input)) {}

  Signature signature() const override { return {kAllToAll, 0, row_bytes_}; }
  int64_t num_rounds() const override {
    int64_t most = 0;
    for (int peer = 0; peer < layout_.world_size; ++peer)
      if (peer != layout_.rank) most = std::max({most, received_[peer].size, sent_[peer].size});
    return rounds_for(most, layout_.lane_bytes());
  }
  bool reads_from(int) const override { return true; }

  void deposit(int64_t round, std::byte* own_slot) override {
    for (int to = 0; to < layout_.world_size; ++to) {
      const Part chunk(sent_[to].size, layout_.lane_bytes(), round);
      if (to == layout_.rank || chunk.size == 0) continue;
      std::memcpy(own_slot + to * layout_.lane_bytes(),
                  bytes_of(input_) + sent_[to].first + chunk.first, chunk.size);
    }
  }
  void collect(int64_t round, const std::vector<const std::byte*>& slots) override {
    if (round == 0 && sent_[layout_.rank].size > 0)
      std::memcpy(bytes_of(output_) + received_[layout_.rank].first,
                  bytes_of(input_) + sent_[layout_.rank].first, sent_[layout_.rank].size);
    for (int from = 0; from < layout_.world_size; ++from) {
      const Part chunk(received_[from].size, layout_.lane_bytes(), round);
      if (from == layout_.rank || chunk.size == 0) continue;
      std::memcpy(bytes_of(output_) + received_[from].first + chunk.first,
                  slots[from] + layout_.rank * layout_.lane_bytes(), chunk.size);
    }
  }

 private:
  struct Span {
    int64_t first, size;
  };

  std::vector<Span> spans_of(const std::vector<int64_t>& counts) const {
    std::vector<Span> spans;
    int64_t first = 0;
    for (const int64_t count : counts) {
      spans.push_back({first, count * row_bytes_});
      first += count * row_bytes_;
    }
    return spans;
  }

  const RoundsLayout layout_;
  const at::Tensor output_, input_;
  const int64_t row_bytes_;
  const std::vector<Span> received_, sent_;  // [peer], bytes
};

class BarrierRounds final : public RoundsOperation {
 public:
  Signature signature() const override { return {kBarrier, 0, 0}; }
  int64_t num_rounds() const override { return 1; }
  bool reads_from(int) const override { return true; }
  void deposit(int64_t, std::byte*) override {}
  void collect(int64_t, const std::vector<const std::byte*>&) override {}
};

}  // namespace

Rounds broadcast_in_rounds(const RoundsLayout& layout, at::Tensor tensor, int root) {
  return std::make_unique<BroadcastRounds>(layout, std::move(tensor), root);
}

Rounds all_reduce_in_rounds(const RoundsLayout& layout, at::Tensor tensor) {
  return std::make_unique<AllReduceRounds>(layout, std::move(tensor));
}

Rounds all_gather_in_rounds(const RoundsLayout& layout, at::Tensor output, at::Tensor input) {
  return std::make_unique<AllGatherRounds>(layout, std::move(output), std::move(input));
}

Rounds all_to_all_in_rounds(const RoundsLayout& layout, at::Tensor output, at::Tensor input,
                            const RowCounts& rows) {
  return std::make_unique<AllToAllRounds>(layout, std::move(output), std::move(input), rows);
}

Rounds barrier_in_rounds() { return std::make_unique<BarrierRounds>(); }

}  // namespace lora_dist
